"""Goes through an output and writes what can be trained on, in memory for labels and no rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import OutputFiles, parse_row, read_rows
from nemo_gym_lite.rollouts.fingerprints import FingerprintSet, fingerprint
from nemo_gym_lite.rollouts.manifest import load_manifest
from nemo_gym_lite.rollouts.plan import PlanSettings, agent_name_of
from nemo_gym_lite.row_fields import KEY, ROLLOUT_INDEX, TASK_INDEX
from nemo_gym_lite.training.columns import group_row, preference_row, ranked_row, sft_row, token_rows
from nemo_gym_lite.training.group_index import GroupIndex, Place
from nemo_gym_lite.training.options import ExportOptions
from nemo_gym_lite.training.rollout import FAILED, NO_REWARD, Rollout, rollout_of
from nemo_gym_lite.training.sink import open_sink


@dataclass(slots=True)
class Exported:
    """What an export did.

    Attributes:
        rollouts: Rollouts that were played, failed ones of the sidecar included.
        written: Rows of the new file.
        left_out: Rollouts that are in no row because of themselves, by reason.
        groups_left_out: Groups that are in no row, by reason.
    """

    rollouts: int = 0
    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    groups_left_out: Counter[str] = field(default_factory=Counter)


def export(source: Path, options: ExportOptions) -> Exported:
    """Write the file that `options` ask for, from the output `source`.

    Raises:
        ConfigError: Nothing is left to write, or the file cannot be of that kind; what was there stays.
        OutputError: The file cannot be written.
    """
    made = Exported()
    kind = "ranked" if options.format == "preference" and options.columns == "nemo_rl" else options.format
    with open_sink(options.output_fpath, kind) as write, source.open("rb") as file:
        rows = _single_rows if options.format in {"sft", "tokens"} else _grouped_rows
        for row in rows(file, source, options, made):
            write(row)
            made.written += 1
        if not made.written:
            reasons = [f"{count} {reason}" for reason, count in (made.left_out + made.groups_left_out).items()]
            raise ConfigError(
                f"{source}: nothing to export as {options.format}: {made.rollouts} rollouts, "
                f"left out: {', '.join(reasons) or 'none'}"
            )
    return made


def _single_rows(file: BinaryIO, source: Path, options: ExportOptions, made: Exported) -> Iterator[Json]:
    for row, _ in _rollouts(file, source, options, made):
        rollout = rollout_of(row)
        if not isinstance(rollout, Rollout):
            made.left_out[rollout] += 1
        elif options.min_reward is not None and (rollout.reward is None or rollout.reward < options.min_reward):
            made.left_out["below min_reward" if rollout.reward is not None else NO_REWARD] += 1
        elif options.format == "sft":
            yield sft_row(rollout)
        elif rollout.turns:
            yield from token_rows(rollout)
        else:
            made.left_out["without token ids"] += 1


def _grouped_rows(file: BinaryIO, source: Path, options: ExportOptions, made: Exported) -> Iterator[Json]:
    index = GroupIndex()
    for row, start in _rollouts(file, source, options, made):
        group, rollout = index.see(row), rollout_of(row)
        if not isinstance(rollout, Rollout):
            made.left_out[rollout] += 1
        elif rollout.reward is None:
            made.left_out[NO_REWARD] += 1
        else:
            index.add(group, Place(rollout.index, rollout.reward, start))
    pick = _pairs(options) if options.format == "preference" else _complete(_sizes(source, options, index))
    to_row = _to_row(options)
    taken = 0
    for agent, places in index.groups():
        picked = pick(agent, places)
        taken += 1
        if isinstance(picked, str):
            made.groups_left_out[picked] += 1
        else:
            yield to_row([_read(file, place) for place in picked])
    if taken < len(index):
        made.groups_left_out["without a usable rollout"] += len(index) - taken


def _pairs(options: ExportOptions) -> Callable[[str, list[Place]], list[Place] | str]:
    def pick(_: str, places: list[Place]) -> list[Place] | str:
        best = max(places, key=lambda place: place.reward)  # of equal ones the first
        worst = min(places, key=lambda place: place.reward)
        difference = best.reward - worst.reward
        return [best, worst] if difference > 0 and difference >= options.margin else "without a difference"

    return pick


def _complete(sizes: Mapping[str, int]) -> Callable[[str, list[Place]], list[Place] | str]:
    def pick(agent: str, places: list[Place]) -> list[Place] | str:
        return places[: sizes[agent]] if len(places) >= sizes[agent] else "incomplete"

    return pick


def _to_row(options: ExportOptions) -> Callable[[list[Rollout]], Json]:
    if options.format == "grpo":
        return group_row
    pair = ranked_row if options.columns == "nemo_rl" else preference_row
    return lambda picked: pair(*picked)


def _sizes(source: Path, options: ExportOptions, index: GroupIndex) -> dict[str, int]:
    """By agent, the rollouts of a complete group: as asked, as the run was asked for, or the most that any has."""
    most = index.largest()
    if options.group_size:
        return dict.fromkeys(most, options.group_size)
    manifest = load_manifest(OutputFiles(source).manifest)
    if manifest is None or not manifest.inputs:
        return most
    asked = PlanSettings(repeats=manifest.inputs[-1].num_repeats)
    return {agent: asked.repeats_of(agent) for agent in most}


def _read(file: BinaryIO, place: Place) -> Rollout:
    file.seek(place.start)
    rollout = rollout_of(parse_row(file.readline()) or {})
    assert isinstance(rollout, Rollout)
    return rollout


def _rollouts(file: BinaryIO, source: Path, options: ExportOptions, made: Exported) -> Iterator[tuple[Json, int]]:
    """Yield each rollout once, with the byte at which it begins, and count those of the sidecar that never came."""
    seen = FingerprintSet()
    start = 0
    for line in file:
        row = parse_row(line)
        if row is None or not {KEY, TASK_INDEX} & row.keys():
            made.left_out["no rollout"] += bool(line.strip())
        elif options.agent_name in {None, agent_name_of(row)}:
            if seen.add(_mark(row)):
                made.rollouts += 1
                yield row, start
            else:
                made.left_out["there twice"] += 1
        start += len(line)
    sidecar = OutputFiles(source).failures
    for row in read_rows(sidecar) if sidecar.exists() else ():
        if row is not None and options.agent_name in {None, agent_name_of(row)} and seen.add(_mark(row)):
            made.rollouts += 1
            made.left_out[FAILED] += 1


def _mark(row: Json) -> int:
    name = row.get(KEY) or f"{agent_name_of(row)}:{row.get(TASK_INDEX)}:{row.get('arm')}"
    return fingerprint(f"{name}:{row.get(ROLLOUT_INDEX)}".encode())
