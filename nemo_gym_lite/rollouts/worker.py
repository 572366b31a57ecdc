"""A worker: a process that plays rollouts for a collector, which plans, counts and writes.

`python -P -m nemo_gym_lite.rollouts.worker FD` speaks over the socket that it inherited as FD (`wire.py`). It is told
the configuration there, secrets included, plays what it is sent and answers with finished lines. It knows nothing of
limits, budgets or files, and ends with the collector, however that went.
"""

import asyncio
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson
import uvloop

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.servers import server_instances
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.rollouts.connect import connect, seats
from nemo_gym_lite.rollouts.crew import LocalCrew
from nemo_gym_lite.rollouts.line import Line
from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.rollouts.player import Player
from nemo_gym_lite.rollouts.progress import TerminalLog
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.rollouts.wire import Outbox, Wire
from nemo_gym_lite.routed_model import RoutedModelClient
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.host import tell_cause
from nemo_gym_lite.serving.server import prepare_for_load

_VITALS_S = 0.5


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker has to know before it can play.

    Attributes:
        tree: The resolved configuration.
        agents: Instance names of the agents that will play.
        models_near: Whether the configuration has its secrets, so that models can be near.
        deadlines: When waits end.
        scored: Whether every rollout must end with a reward.
        workers: How many workers there are; each keeps to its share of what an endpoint allows.
    """

    tree: Json
    agents: list[str]
    models_near: bool
    deadlines: Deadlines
    scored: bool
    workers: int

    def dump(self) -> bytes:
        """As it is sent."""
        fields = {name: getattr(self, name) for name in self.__slots__} | {"deadlines": self.deadlines.model_dump()}
        return orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS)

    @classmethod
    def load(cls, data: bytes | memoryview) -> Self:
        """What `dump` gave."""
        fields = orjson.loads(data)
        return cls(**fields | {"deadlines": Deadlines.model_validate(fields["deadlines"])})


class Worker:
    """This process, as the collector sees it.

    Args:
        stack: Closes at the end what the worker opened.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self.ended = asyncio.Event()
        self.setup: asyncio.Future[Setup] = asyncio.get_running_loop().create_future()
        self._stack = stack
        self._wire: Wire
        self._crew: LocalCrew
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._lines: list[tuple[int, Line]] = []
        self._outbox = Outbox(self._send_lines)

    async def begin(self, wire: Wire) -> None:
        """Wait for the setup, build what plays, and say that it is there."""
        self._wire = wire
        setup = await self.setup
        ticker = Ticker()
        http = await self._stack.enter_async_context(open_http(setup.deadlines))
        placed = seats(server_instances(setup.tree, need_code=False), setup.agents, models_near=setup.models_near)
        clients = connect(placed, http, setup.deadlines, setup.tree, scored=setup.scored)
        self._stack.push_async_callback(clients.close)
        for model in clients.models.values():
            if isinstance(model, RoutedModelClient):
                model.router.share(setup.workers)
        player = Player(clients.agents, setup.deadlines.episode_s, scored=setup.scored)
        self._crew = LocalCrew(player, clients.models, ticker)
        ticker.every(_VITALS_S, self._send_vitals)
        ticking = asyncio.create_task(ticker.run())
        self._stack.callback(ticking.cancel)
        gc.freeze()
        wire.send({"ready": True})

    def take(self, head: Json, rest: memoryview) -> None:
        """Do what a message says."""
        if "begin" in head:
            self.setup.set_result(Setup.load(rest))
        for number, attempts, key, task_index, rollout_index, agent_name, row in head.get("play", ()):
            spec = Spec(row, key, task_index, rollout_index, agent_name, 0)
            self._tasks[number] = asyncio.create_task(self._play(number, spec, attempts))
        for number in head.get("cancel", ()):
            if task := self._tasks.get(number):
                task.cancel()
        if "end" in head:
            self.ended.set()

    async def _play(self, number: int, spec: Spec, attempts: int) -> None:
        try:
            line = await self._crew.play(spec, attempts)
            self._lines.append((number, line))
            self._outbox.mark()
        finally:
            del self._tasks[number]

    def _send_lines(self) -> None:
        lines, self._lines = self._lines, []
        head = [
            [number, facts_of(line), line.failure_class, line.message, line.terminal, len(line.data)]
            for number, line in lines
        ]
        self._wire.send({"lines": head}, [line.data for _, line in lines])

    def _send_vitals(self) -> None:
        self._wire.send({"vitals": self._crew.vitals().as_json()})


def facts_of(line: Line) -> Json:
    """What a collector counts of a row: its numbers, its usage and the name of the model that answered."""
    row = line.facts
    facts: Json = {name: value for name, value in row.items() if isinstance(value, int | float) and name[:1] != "_"}
    if usage := row.get("usage"):
        facts["usage"] = usage
    response = row.get("response")
    if isinstance(response, dict) and (model := response.get("model")):
        facts["response"] = {"model": model}
    return facts


async def work(fd: int) -> None:
    """Play until the collector says that it is over."""
    connection = socket.socket(fileno=fd)
    connection.set_inheritable(False)
    _end_with_collector(os.dup(fd))
    async with AsyncExitStack() as stack:
        worker = Worker(stack)
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_unix_connection(lambda: Wire(worker.take), sock=connection)
        await worker.begin(wire)
        await worker.ended.wait()


def _end_with_collector(fd: int) -> None:
    """End this process and what it started when the other end of the socket closes, whatever this process does."""
    poll = select.poll()
    poll.register(fd, 0)

    def watch() -> None:
        poll.poll()
        os.killpg(os.getpgrp(), signal.SIGKILL)  # there is nothing to save: what was played is the collector's

    threading.Thread(target=watch, name="collector", daemon=True).start()


def main() -> int:
    """Work for the collector at the other end of the socket that the command line names; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, handlers=[TerminalLog()])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the collector passes on what may be of use to a model
    prepare_for_load()
    try:
        uvloop.run(work(int(sys.argv[1])))
    except Exception as error:  # an author's code raises anything; the collector tells it in one line
        tell_cause(error, Path())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
