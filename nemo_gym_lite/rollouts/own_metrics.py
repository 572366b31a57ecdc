"""Asks an environment for metrics of its own, which need all rows at once, without growing the collector.

A few thousand rows are handed over in this process. For more, an environment of ours that lives near is asked in a
process of its own, whose memory goes when it ends; a served one is not asked.
"""

import asyncio
import multiprocessing
from array import array
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nemo_gym_lite.arms.table import arm_table
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.servers import ServerInstance, load_server_class, server_instances
from nemo_gym_lite.rollouts.connect import Clients
from nemo_gym_lite.rollouts.files import OutputFiles, read_rows
from nemo_gym_lite.rollouts.metrics import RunMetrics, TaskNumbers
from nemo_gym_lite.rollouts.progress import say
from nemo_gym_lite.rollouts.report import write_metrics
from nemo_gym_lite.rollouts.tables import as_text
from nemo_gym_lite.row_fields import KEY, TASK_INDEX
from nemo_gym_lite.serving.near_resources import NearResources

_MAX_ROWS_HERE = 5_000
_MAX_ROWS = 500_000
"""At about 2 kB a row this is 1 GB in the other process."""

_CHILD_S = 900.0
"""Seconds that the other process may take."""

_MAX_TEXT = 200
"""Longer texts are not handed over: answers are short, transcripts are not."""

_LEFT_OUT = {"responses_create_params", "response", "usage", "agent_ref", KEY}


async def write_all_metrics(files: OutputFiles, metrics: RunMetrics, clients: Clients | Json) -> dict[str, Json]:
    """Write the aggregate metrics of an output, those of its environments included, and tell those of its arms.

    `clients` is what the rollouts were played with, or the configuration that their manifest keeps; returned are the
    key metrics of each agent.

    Raises:
        OutputError: The file cannot be written; the old one is still there.
    """
    own = {}
    for name, agent in metrics.agents.items():
        if not agent.has("reward"):  # its rollouts are scored later
            continue
        try:
            own[name] = await own_metrics(files.rollouts, name, agent.count, clients)
        except Exception as error:  # an environment's metrics are an extra: its bug must not cost the run's
            say(f"{name}: the environment's own metrics failed, ours are written: {error!r}")
    key_metrics = await asyncio.to_thread(write_metrics, files, metrics, own)  # 20 s for a million tasks
    for name, agent in metrics.agents.items():
        if arms := agent.arms.summary():
            say(as_text(arm_table(name, arms)))
    return key_metrics


async def own_metrics(rollouts: Path, agent_name: str, count: int, clients: Clients | Json) -> Json | None:
    """The metrics of the environment behind an agent that has `count` rows in an output, None if it has none."""
    if isinstance(clients, Clients):
        client = clients.resources.get(agent_name)
        if client is None or not await client.has_metrics():
            return None
        if count <= _MAX_ROWS_HERE:
            return await client.aggregate_metrics(_rows_of(rollouts, agent_name))
        environment, tree = clients.near_resources.get(agent_name), clients.tree
    else:  # without the servers that the rollouts were played with
        servers = {server.name: server for server in server_instances(clients)}
        agent = servers.get(agent_name)
        environment, tree = servers.get(agent.reference("resources_server") or "") if agent else None, clients
        if environment is None:
            return None
    if environment is None or count > _MAX_ROWS:
        say(f"{agent_name}: too many rows for the environment's own metrics; ours are written")
        return None
    return await asyncio.to_thread(_in_child, environment, tree, rollouts, agent_name)


def _in_child(server: ServerInstance, tree: Json, rollouts: Path, agent_name: str) -> Json | None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(sender, server, tree, rollouts, agent_name), daemon=True)
    child.start()
    sender.close()
    try:
        if not receiver.poll(_CHILD_S):
            raise TimeoutError(f"not done after {_CHILD_S:g} s")
        answer: Json | None = receiver.recv()
        return answer
    except EOFError:
        raise RuntimeError("the process that computed them died; its error is above") from None
    finally:
        child.kill()
        child.join()
        receiver.close()


def _send(sender: Connection, server: ServerInstance, tree: Json, rollouts: Path, agent_name: str) -> None:
    environment: Any = load_server_class(server).from_tree(tree, server.name)
    rows = _rows_of(rollouts, agent_name) if environment.has_metrics() else []
    sender.send(asyncio.run(NearResources(environment).aggregate_metrics(rows)))


def _rows_of(rollouts: Path, agent_name: str) -> list[Json]:
    """The scored rows of one agent, without prompts, responses and long texts; each task has a label of its own."""
    numbers = TaskNumbers()
    rows, tasks = [], array("q")
    for row in read_rows(rollouts):
        if row is None or row.get("agent_ref", {}).get("name") != agent_name:  # of malformed lines the resume has told
            continue
        kept = {
            name: value
            for name, value in row.items()
            if name not in _LEFT_OUT and not (isinstance(value, str) and len(value) > _MAX_TEXT)
        }
        counts = {name: value for name, value in (row.get("usage") or {}).items() if isinstance(value, int)}
        rows.append({**kept, "response": {"usage": counts}})
        tasks.append(numbers.of(row))
    labels = numbers.distinct_labels()
    for row, task in zip(rows, tasks, strict=True):
        row[TASK_INDEX] = labels[task]
    return rows
