"""How each task of an output went: statistics of its rollouts beside its input row, without servers.

Kept are numbers in columns and, for each task, where its row is; no row stays in memory.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import OutputFiles, parse_row, replacing, write_json
from nemo_gym_lite.rollouts.fingerprints import FingerprintSet, FingerprintTable, fingerprint
from nemo_gym_lite.rollouts.manifest import load_manifest
from nemo_gym_lite.rollouts.metrics import AgentMetrics, TaskNumbers, positions_by_label
from nemo_gym_lite.rollouts.plan import PlanSettings, TaskLabels, agent_name_of, as_asked, task_key
from nemo_gym_lite.row_fields import KEY, ROLLOUT_INDEX, TASK_INDEX

_OF_THE_ROLLOUT = {"response", "reward", "usage", KEY, ROLLOUT_INDEX}
"""Fields of a rollout's row that are certainly none of its task's."""


@dataclass(slots=True)
class Profile:
    """What was written, and what is missing.

    Attributes:
        rollouts: Rollouts taken in.
        expected: Rollouts that were asked for.
        complete: Tasks of which all rollouts are there.
        partial: Tasks of which some are.
        without: Tasks of the inputs that have none; they are in no file.
        malformed: Lines that are no rollouts, as a killed collector leaves at the end.
    """

    tasks: Path
    agents: Path
    rollouts: int = 0
    expected: int = 0
    complete: int = 0
    partial: int = 0
    without: int = 0
    malformed: int = 0


class _Agent:
    """The rollouts of one agent: their numbers, how many each task has, and where its first one is."""

    def __init__(self) -> None:
        self.metrics = AgentMetrics()
        self.numbers = TaskNumbers()
        self.counts, self.starts = array("I"), array("Q")

    def add(self, row: Json, start: int) -> None:
        number = self.numbers.of(row)
        if number == len(self.counts):
            self.counts.append(0)
            self.starts.append(start)
        self.counts[number] += 1
        self.metrics.add(row)


class _Inputs:
    """Where the row of each task is in a file of inputs, and how many rollouts it asks for.

    Rows that carry `_ng_rollout_index` are one rollout each. Others are tasks, in the order in which the collector
    numbers them, of which each is asked for `repeats` times.
    """

    def __init__(self, path: Path, repeats: int | Mapping[str, int]) -> None:
        self.path = path
        self.starts, self.counts = array("Q"), array("I")
        self._places = FingerprintTable()
        labels, settings = TaskLabels(), PlanSettings(repeats=repeats)
        for row, start in _rows(path):
            if row is None or not isinstance(row.get("responses_create_params"), dict):
                raise ConfigError(f"{path}: the line at byte {start} is no task")
            agent = agent_name_of(row) or ""
            label = labels.of(task_key(as_asked(row, settings), agent))
            own = row.get(TASK_INDEX)
            place = self._places.number(_mark(own if isinstance(own, int) else label))
            if place == len(self.starts):
                self.starts.append(start)
                self.counts.append(0)
            self.counts[place] += 1 if ROLLOUT_INDEX in row else settings.repeats_of(agent)

    def place_of(self, label: int) -> int | None:
        """The place of a task in the arrays, None if the file does not have it."""
        return self._places.get(_mark(label))


def write_profile(rollouts: Path, inputs: Path | None, *, allow_partial: bool) -> Profile:
    """Write `X_reward_profiling.jsonl`, a row for each task, and `X_agent_metrics.json`, of an output of ours or NeMo
    Gym's. `inputs` are its tasks, or NeMo Gym's materialized inputs; without them a task's row is made from its first
    rollout.

    Raises:
        ConfigError: Rollouts are there twice, missing, or of tasks that the inputs do not have.
        OutputError: A file cannot be written.
    """
    stem = rollouts.with_suffix("")
    made = Profile(Path(f"{stem}_reward_profiling.jsonl"), Path(f"{stem}_agent_metrics.json"))
    agents = _read(rollouts, made)
    manifest = load_manifest(OutputFiles(rollouts).manifest)
    most = max((max(agent.counts) for agent in agents.values()), default=0)
    repeats = manifest.inputs[-1].num_repeats if manifest and manifest.inputs else most
    known = _Inputs(inputs, repeats) if inputs else None
    wanted = {name: array("I", _wanted(name, agent, known, repeats)) for name, agent in agents.items()}
    for name, agent in agents.items():
        made.complete += sum(have >= want for have, want in zip(agent.counts, wanted[name], strict=True))
        made.partial += sum(have < want for have, want in zip(agent.counts, wanted[name], strict=True))
    arms = max(1, len({arm for agent in agents.values() for arm in agent.numbers.arms.values()}))
    made.expected = arms * sum(known.counts) if known else sum(sum(each) for each in wanted.values())
    made.without = arms * len(known.counts) - made.complete - made.partial if known else 0
    if made.rollouts < made.expected and not allow_partial:
        raise ConfigError(
            f"{made.rollouts} of {made.expected} rollouts are in {rollouts}",
            "finish the run with the command that began it, or profile what is there with +allow_partial_rollouts=true",
        )
    with replacing(made.tasks) as target, (known.path if known else rollouts).open("rb") as source:
        for name in sorted(agents):
            for group in _groups(name, agents[name], wanted[name], known, source):
                target.write(orjson.dumps(group, option=orjson.OPT_APPEND_NEWLINE))
    write_json(
        made.agents, [{"agent_ref": {"name": name}, **agents[name].metrics.agent_metrics()} for name in sorted(agents)]
    )
    return made


def _read(rollouts: Path, made: Profile) -> dict[str, _Agent]:
    agents: dict[str, _Agent] = {}
    seen = FingerprintSet()
    for row, start in _rows(rollouts):
        if row is None or not {KEY, TASK_INDEX} & row.keys():  # a task, or part of some other JSON file
            made.malformed += 1
            continue
        name = agent_name_of(row) or "agent"
        task, rollout = row.get(TASK_INDEX), row.get(ROLLOUT_INDEX)
        if not seen.add(fingerprint(f"{row.get(KEY)}:{name}:{task}:{rollout}".encode())):
            raise ConfigError(f"{rollouts}: task {task}, rollout {rollout} of {name} is there twice")
        agents.setdefault(name, _Agent()).add(row, start)
        made.rollouts += 1
    if not agents:
        raise ConfigError(f"{rollouts} holds no rollout")
    return agents


def _wanted(name: str, agent: _Agent, known: _Inputs | None, repeats: int | Mapping[str, int]) -> Iterator[int]:
    """How many rollouts each task should have.

    Raises:
        ConfigError: The inputs do not have a task, or two tasks of the output have one label.
    """
    if known is None:
        asked = PlanSettings(repeats=repeats).repeats_of(name)
        yield from (max(asked, have) for have in agent.counts)  # a row that the input holds twice is one task
        return
    distinct = agent.numbers.distinct_labels()
    for number, label in enumerate(agent.numbers.labels):
        place = known.place_of(label)
        if place is None:
            raise ConfigError(f"task {label} of the rollouts is not in {known.path}", "give the inputs of this output")
        if distinct[number] != label and number not in agent.numbers.arms:  # all arms of a task have its label
            raise ConfigError(
                f"two tasks of the rollouts are number {label}, since the output holds several inputs",
                "leave the inputs out; each task's row is then made from its first rollout",
            )
        yield known.counts[place]


def _groups(
    name: str, agent: _Agent, wanted: "array[int]", known: _Inputs | None, source: BinaryIO
) -> Iterator[dict[str, Any]]:
    order = positions_by_label(agent.numbers.distinct_labels())  # the order in which the groups come
    for number, group in zip(order, agent.metrics.group_metrics(name), strict=True):
        have, want = agent.counts[number], wanted[number]
        group["expected_num_rollouts"] = want
        group["missing_num_rollouts"] = max(0, want - have)
        group["reward_profile_completion_pct"] = 100.0 * have / want if want else 100.0
        if known is None:
            row = _row_at(source, agent.starts[number])
            group["sample"] = {field: value for field, value in row.items() if field not in _OF_THE_ROLLOUT}
        else:
            place = known.place_of(agent.numbers.labels[number])
            assert place is not None
            group["sample"] = _row_at(source, known.starts[place])
        yield group


def _row_at(source: BinaryIO, start: int) -> Json:
    source.seek(start)
    return parse_row(source.readline()) or {}


def _mark(label: int) -> int:
    return fingerprint(str(label).encode())


def _rows(path: Path) -> Iterator[tuple[Json | None, int]]:
    """Yield the rows of a file, None for a line that is none, each with the byte at which it begins."""
    start = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield parse_row(line), start
            start += len(line)
