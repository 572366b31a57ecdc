"""Writes `X_aggregate_metrics.json`, one agent and one task at a time."""

from collections.abc import Mapping

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.reward_profile import means
from nemo_gym_lite.rollouts.files import OutputFiles, replacing
from nemo_gym_lite.rollouts.metrics import AgentMetrics, RunMetrics
from nemo_gym_lite.row_fields import TASK_INDEX


def write_metrics(files: OutputFiles, metrics: RunMetrics, own: Mapping[str, Json | None]) -> dict[str, Json]:
    """Write the aggregate metrics, one agent and one task at a time, and return the key metrics of each agent.

    What an agent's environment computed itself (`own`) is laid over ours, and of tasks beside ours.

    Raises:
        OutputError: The file cannot be written; the old one is still there.
    """
    keys: dict[str, Json] = {}
    with replacing(files.metrics) as file:
        file.write(b"[")
        for number, (name, agent) in enumerate(sorted(metrics.agents.items())):
            file.write(b",\n" if number else b"\n")
            summary = _summary(name, agent, own.get(name))
            keys[name] = summary["key_metrics"]
            file.write(orjson.dumps(summary, option=orjson.OPT_INDENT_2)[:-2])
            file.write(b',\n  "group_level_metrics": [')
            separator = b"\n    "
            told = {each[TASK_INDEX]: each for each in (own.get(name) or {}).get("group_level_metrics") or ()}
            for group in agent.group_metrics(name):
                file.write(separator + orjson.dumps({**told.get(group[TASK_INDEX], {}), **group}))
                separator = b",\n    "
            file.write(b"\n  ]\n}")
        file.write(b"\n]\n")
    return keys


def _summary(name: str, agent: AgentMetrics, own: Json | None) -> Json:
    computed = agent.agent_metrics()
    key_metrics = means(computed)
    if own is not None:
        computed.update(own.get("agent_metrics") or {})
        key_metrics = own.get("key_metrics") or key_metrics
    summary = {"agent_ref": {"name": name}, "agent_metrics": computed, "key_metrics": key_metrics}
    return summary | agent.arms.summary()
