"""Plays what is owed: a fixed number of slots, each pulling the next spec when it is free.

Every spec that enters a slot leaves as exactly one line, a rollout or a failure; only a killed process leaves none,
and the next run owes it again. Nothing is kept for longer than it is in flight.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nemo_gym_lite.clients import AgentClient, Json
from nemo_gym_lite.errors import FailedCallError, GymError, OutputError
from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.rollouts.progress import Progress, Tally, first_line, say
from nemo_gym_lite.rollouts.sink import Sink
from nemo_gym_lite.row_fields import (
    ATTEMPT_INDEX,
    FAILURE_CLASS,
    FAILURE_MESSAGE,
    FAILURE_TERMINAL,
    JUDGE_ERROR,
    KEY,
    NO_PERSIST,
    ROLLOUT_INDEX,
    TASK_INDEX,
)

_SHOW_INTERVAL_S = 0.25
_SYNC_EVERY_TICKS = 4
"""The disk is synced at every fourth look at the display, about once a second."""


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """How to play.

    Attributes:
        concurrency: Rollouts in flight at once.
        episode_s: Seconds after which an episode is given up, as failure class `timeout`.
        drain_s: Seconds that rollouts in flight get to finish after a first Ctrl-C.
    """

    concurrency: int
    episode_s: float = 3600.0
    drain_s: float = 30.0


class Collector:
    """Plays specs with agents and writes what comes of them.

    Args:
        specs: The rollouts owed; pulled one at a time, when a slot is free.
        agents: By instance name, every agent that the specs name.
        sink: Where lines go.
        tally: Counted up as rollouts end.
        observe: Called with every delivered row, to take it into the metrics.
        settings: Concurrency and deadlines.
        attempts: How often a rollout failed in earlier runs.
    """

    def __init__(
        self,
        specs: Iterator[Spec],
        agents: Mapping[str, AgentClient],
        sink: Sink,
        tally: Tally,
        observe: Callable[[Json], None],
        settings: CollectorSettings,
        attempts: Callable[[Spec], int] = lambda _: 0,
    ) -> None:
        self._specs = specs
        self._agents = agents
        self._sink = sink
        self._tally = tally
        self._observe = observe
        self._settings = settings
        self._attempts = attempts
        self._stopping = False
        self._slots: list[asyncio.Task[None]] = []

    @property
    def stopped_early(self) -> bool:
        """Whether `stop` was called before everything was played."""
        return self._stopping

    def stop(self) -> None:
        """End early: the first call lets rollouts in flight finish for `drain_s`, the second cancels them."""
        if self._stopping:
            self._cancel()
        else:
            self._stopping = True
            asyncio.get_running_loop().call_later(self._settings.drain_s, self._cancel)

    async def run(self, progress: Progress) -> None:
        """Play until nothing is owed or `stop` ends it.

        Raises:
            OutputError: A line could not be written; what was written before is whole.
            ConfigError: The input changed under the run.
        """
        slots = min(self._settings.concurrency, max(1, self._tally.total))
        show = asyncio.create_task(self._show(progress))
        try:
            async with asyncio.TaskGroup() as group:
                self._slots = [group.create_task(self._slot()) for _ in range(slots)]
        except* GymError as errors:
            raise errors.exceptions[0] from None
        finally:
            show.cancel()
            await asyncio.gather(show, return_exceptions=True)

    async def _slot(self) -> None:
        while not self._stopping and (spec := next(self._specs, None)) is not None:
            self._tally.in_flight += 1
            self._tally.max_in_flight = max(self._tally.max_in_flight, self._tally.in_flight)
            try:
                await self._play(spec)
            finally:
                self._tally.in_flight -= 1
            await asyncio.sleep(0)  # a rollout can fail without waiting; signals, probes and others need their turn

    async def _play(self, spec: Spec) -> None:
        agent = self._agents[spec.agent_name]
        try:
            async with asyncio.timeout(self._settings.episode_s):
                fields = await agent.run(spec.row)
            row = _scored(spec, fields) | self._labels(spec)
            self._sink.rollouts.append(row)
        except OutputError:
            raise
        except FailedCallError as error:
            self._fail(spec, error.failure_class, str(error), error.terminal)
        except TimeoutError:
            self._fail(spec, "timeout", f"the episode took longer than {self._settings.episode_s:g} s")
        except Exception as error:  # an agent is the user's code: its bug costs its rollout, not the run
            self._fail(spec, "agent_failed", repr(error))
        else:
            self._tally.delivered += 1
            self._observe(row)

    def _fail(self, spec: Spec, failure_class: str, message: str, terminal: bool = False) -> None:
        message = message.encode(errors="backslashreplace").decode()  # a lone surrogate cannot be written
        row = {**spec.row, **self._labels(spec), FAILURE_CLASS: failure_class, FAILURE_MESSAGE: message}
        if terminal:
            row[FAILURE_TERMINAL] = True
        self._sink.failures.append(row)
        self._tally.count_failure(failure_class, message)

    def _labels(self, spec: Spec) -> Json:
        labels: Json = {
            "agent_ref": {"type": "responses_api_agents", "name": spec.agent_name},
            TASK_INDEX: spec.task_index,
            ROLLOUT_INDEX: spec.rollout_index,
            KEY: spec.key,
        }
        if attempts := self._attempts(spec):
            labels[ATTEMPT_INDEX] = attempts
        return labels

    async def _show(self, progress: Progress) -> None:
        tick = 0
        said: set[str] = set()
        while True:
            await asyncio.sleep(_SHOW_INTERVAL_S)
            for failure_class in self._tally.first_failures.keys() - said:
                said.add(failure_class)
                say(f"first {failure_class}: {first_line(self._tally.first_failures[failure_class])}")
            progress.show()
            tick += 1
            if tick % _SYNC_EVERY_TICKS == 0:
                await asyncio.to_thread(self._sink.sync)

    def _cancel(self) -> None:
        for slot in self._slots:
            slot.cancel()


def _scored(spec: Spec, fields: Json) -> Json:
    """The line of a rollout, without its labels.

    Raises:
        FailedCallError: The agent says that it failed, or there is no reward that could be kept.
    """
    if problem := fields.get(FAILURE_CLASS):
        message = str(fields.get(JUDGE_ERROR) or fields.get(FAILURE_MESSAGE) or "")
        raise FailedCallError(str(problem), message, terminal=bool(fields.get(FAILURE_TERMINAL)))
    reward = fields.get("reward")
    if not isinstance(reward, int | float) or not math.isfinite(reward):
        raise FailedCallError("verify_failed", f"the environment gave no finite reward but {reward!r}")
    if fields.get(NO_PERSIST):
        raise FailedCallError("not_persisted", "the environment asked not to keep this rollout")
    row = {**spec.row, **fields}
    if (usage := (fields.get("response") or {}).get("usage")) is not None:
        row["usage"] = usage
    return row
