"""Checks the data files of agents, counts what they hold, and makes one file of those of each type.

    every row checked → metrics compared with earlier ones → metrics, `X_prepare.jsonl` and `TYPE.jsonl` written

Up to the last step nothing is written, but for the `_conflict.json` files, which say what is in the way of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.datasets.conflicts import differences
from nemo_gym_lite.datasets.rows import Checked, check, finished_rows
from nemo_gym_lite.datasets.scope import Dataset
from nemo_gym_lite.datasets.statistics import DataStatistics
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import replacing, write_json

Show = Callable[[str], None]

_MAX_DIFFERENCES = 10


@dataclass(frozen=True, slots=True)
class Prepared:
    """One file of all rows of a type.

    Attributes:
        type: `train`, `validation`, `benchmark` or `example`.
        path: The file.
        files: Data files that it is made of.
        rows: Its rows, repeats counted.
        dropped: Invalid rows that are not in it.
    """

    type: str
    path: Path
    files: int
    rows: int
    dropped: int


def prepare(
    datasets: Sequence[Dataset], output: Path, *, drop_invalid: bool, overwrite_metrics: bool, show: Show
) -> list[Prepared]:
    """Check, count and put together, into files of whole types in the folder `output`.

    Raises:
        ConfigError: Rows are invalid, or the data is not what earlier metrics files say.
        OutputError: A file cannot be written.
    """
    by_type: dict[str, list[Checked]] = {}
    totals: dict[str, DataStatistics] = {}
    for dataset in datasets:
        kind = dataset.config.type
        checked = check(dataset, totals.setdefault(kind, DataStatistics()))
        by_type.setdefault(kind, []).append(checked)
        show(_told(checked))
    everything = [checked for several in by_type.values() for checked in several]
    _refuse_invalid(everything, drop_invalid=drop_invalid, show=show)
    metrics = {each.dataset.beside("_metrics.json"): _metrics_of(each) for each in everything}
    metrics |= {output / f"{kind}_metrics.json": total.as_json() for kind, total in totals.items()}
    if not overwrite_metrics:
        _refuse_conflicts(metrics)
    for path, found in metrics.items():
        if _earlier(path) != found:
            write_json(path, found)
        _conflict_of(path).unlink(missing_ok=True)
    return [_collate(kind, several, output / f"{kind}.jsonl") for kind, several in by_type.items()]


def _told(checked: Checked) -> str:
    dataset, wrong = checked.dataset, len(checked.invalid)
    times = dataset.config.num_repeats
    repeats = f", each {times} times" if times > 1 else ""
    rows = f"{checked.statistics.rows // times} rows{repeats}{f', {wrong} invalid' if wrong else ''}"
    return f"{dataset.path} ({dataset.config.type} of {dataset.agent_name}): {rows}"


def _refuse_invalid(everything: Iterable[Checked], *, drop_invalid: bool, show: Show) -> None:
    wrong = [checked for checked in everything if checked.invalid]
    faults = [fault for checked in wrong for fault in checked.faults]
    more = sum(len(checked.invalid) for checked in wrong) - len(faults)
    lines = "\n".join(f"  {fault}" for fault in [*faults, *([f"and {more} more"] if more else [])])
    if wrong and not drop_invalid:
        raise ConfigError(f"these rows are invalid\n{lines}", "correct them, or leave them out with +drop_invalid=true")
    if wrong:
        show(f"left out as invalid\n{lines}")
    for checked in wrong:
        if not checked.statistics.rows:
            raise ConfigError(f"{checked.dataset.path} has no valid row")


def _metrics_of(checked: Checked) -> Json:
    told = checked.dataset.config.model_dump(mode="json") | checked.statistics.as_json()
    read_back: Json = orjson.loads(orjson.dumps(told))
    return read_back


def _earlier(path: Path) -> Json | None:
    """What a metrics file says, wherever in the search roots it is; None if there is none, or half of one."""
    try:
        found = orjson.loads((find(path) or path).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _refuse_conflicts(metrics: Mapping[Path, Json]) -> None:
    """Compare with the metrics files that are there; what differs is written beside them, and nothing else is.

    Raises:
        ConfigError: Something differs.
    """
    faults = []
    for path, found in metrics.items():
        changed = list(differences(_earlier(path) or {}, found))
        if not changed:
            continue
        conflict = _conflict_of(path)
        write_json(conflict, found)
        shown = [*changed[:_MAX_DIFFERENCES], *(["..."] if len(changed) > _MAX_DIFFERENCES else [])]
        faults.append("\n".join([f"  {path} (now: {conflict.name})", *(f"    {line}" for line in shown)]))
    if faults:
        raise ConfigError(
            "the data is not what earlier metrics files say\n" + "\n".join(faults),
            "if the change is meant, replace them with +overwrite_metrics_conflicts=true",
        )


def _conflict_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}_conflict.json")


def _collate(kind: str, several: Sequence[Checked], path: Path) -> Prepared:
    with replacing(path) as whole:
        for checked in several:
            with replacing(checked.dataset.beside("_prepare.jsonl")) as own:
                for line in finished_rows(checked):
                    own.write(line)
                    whole.write(line)
    rows = sum(checked.statistics.rows for checked in several)
    return Prepared(kind, path, len(several), rows, sum(len(checked.invalid) for checked in several))
