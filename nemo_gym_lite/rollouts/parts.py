"""The outputs that an aggregation puts together: which there are, whether they belong together, and what is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from itertools import chain
from pathlib import Path

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.manifest import InputEntry, Manifest, differences, load_manifest
from nemo_gym_lite.rollouts.shards import Shard, shard_of


@dataclass(frozen=True, slots=True)
class Part:
    """One output.

    Attributes:
        files: Its files; a shard without a delivered rollout has none but its manifest.
        manifest: What it was begun with, None if that is not there.
    """

    files: OutputFiles
    manifest: Manifest | None

    @property
    def gap(self) -> str | None:
        """Why it may not be the whole of its part, None if it is."""
        path = self.files.rollouts
        if self.manifest is None:
            return f"{path} has no manifest, so nobody can say whether it is finished"
        if self.manifest.status != "finished":
            return f"{path} is not finished but {self.manifest.status}: run its command again"
        return None


def find_parts(patterns: str, output: Path) -> list[Part]:
    """The outputs that match `patterns` (separated by commas), sorted by name; sidecars and `output` itself are none.

    Raises:
        ConfigError: Nothing matches.
    """
    matches = (glob(each.strip(), recursive=True) for each in patterns.split(","))  # noqa: PTH207 - Path.glob takes no absolute pattern
    found = {path.resolve(): path for path in map(Path, chain.from_iterable(matches)) if path.suffix == ".jsonl"}
    found.pop(output.resolve(), None)
    taken = [path for path in found.values() if path.is_file() and not path.stem.endswith("_failures")]
    if not taken:
        raise ConfigError(
            f"input_glob: no output matches {patterns}", "for instance +input_glob='results/x_shard_*.jsonl'"
        )
    empty = [path for path, _ in _absent(taken) if OutputFiles(path).manifest.exists() and not path.exists()]
    files = [OutputFiles(path) for path in sorted([*taken, *empty])]
    return [Part(each, load_manifest(each.manifest)) for each in files]


def gaps(parts: Sequence[Part]) -> list[str]:
    """What the parts lack to be the whole, a line each: shards that are missing or not finished."""
    absent = [f"shard {shard} is missing: {path}" for path, shard in _absent(part.files.rollouts for part in parts)]
    return absent + [part.gap for part in parts if part.gap is not None]


def refuse_mixtures(parts: Sequence[Part]) -> None:
    """Compare what the outputs were made with, and the input of those that are shards of one.

    Raises:
        ConfigError: They differ; the message lists every difference.
    """
    first: dict[str, tuple[Part, Json]] = {}
    for part in parts:
        if part.manifest is None:
            continue
        whole = shard_of(part.files.rollouts)
        compared = {"settings": part.manifest.asked}
        if whole is not None:
            compared[f"input of {whole[0]}"] = _input_of(part.manifest)
        for what, said in compared.items():
            other, before = first.setdefault(what, (part, said))
            if lines := differences(before, said):
                raise ConfigError(
                    f"{part.files.rollouts} was made with other settings than {other.files.rollouts}, so their "
                    f"rollouts would not be comparable\n{lines}",
                    "aggregate the outputs of one run only",
                )


def merged_manifest(
    parts: Sequence[Part], output: Path, *, whole: bool, measured: Mapping[str, Json]
) -> Manifest | None:
    """One manifest for all parts, None if none has one; `whole`: nothing is missing, `measured`: of the rows, `counts`
    and `tokens`."""
    known = [part.manifest for part in parts if part.manifest is not None]
    if not known:
        return None
    inputs: dict[str, InputEntry] = {}
    for entry in (entry for manifest in known for entry in manifest.inputs):
        before = inputs.get(entry.digest)
        tasks = entry.tasks + (before.tasks if before else 0)
        finished = whole and entry.finished and (before is None or before.finished)
        inputs[entry.digest] = entry.model_copy(update={"tasks": tasks, "finished": finished})
    timings = [manifest.timings for manifest in known]
    return known[0].model_copy(
        update={
            "status": "finished" if whole else "interrupted",
            "begun": min(manifest.begun for manifest in known),
            "ended": max((manifest.ended for manifest in known if manifest.ended), default=None),
            "inputs": list(inputs.values()),
            "counts": summed([manifest.counts for manifest in known]) | measured["counts"],
            "timings": {
                "elapsed_s": max(each.get("elapsed_s", 0.0) for each in timings),
                "cpu_s": sum(each.get("cpu_s", 0.0) for each in timings),
                "peak_memory_mb": max(each.get("peak_memory_mb", 0.0) for each in timings),
            },
            "tokens": measured["tokens"],
            "spent": summed([manifest.spent for manifest in known]),
            "history": [],
            "options": known[0].options | {"output_jsonl_fpath": str(output), "shard": None},
        }
    )


def summed(many: Sequence[Json]) -> Json:
    """The sums of the numbers of some mappings, by name, None where one is None; mappings within likewise."""
    total: Json = {}
    for each in many:
        for name, value in each.items():
            if value is None or (name in total and total[name] is None):
                total[name] = None
            elif isinstance(value, dict):
                total[name] = summed([total.get(name, {}), value])
            elif isinstance(value, int | float):
                total[name] = total.get(name, 0) + value
    return total


def _absent(paths: Iterable[Path]) -> list[tuple[Path, Shard]]:
    """The shards that the names of the others speak of, and which are not among them."""
    families: dict[tuple[Path, int], set[int]] = {}
    for path in paths:
        if found := shard_of(path):
            families.setdefault((found[0], found[1].of), set()).add(found[1].number)
    return [
        (Shard(number, of).path(whole), Shard(number, of))
        for (whole, of), numbers in families.items()
        for number in range(1, of + 1)
        if number not in numbers
    ]


def _input_of(manifest: Manifest) -> Json:
    """What decides which tasks a shard's labels stand for."""
    last = manifest.inputs[-1] if manifest.inputs else None
    return {"input": last.digest, "limit": last.limit, "num_repeats": last.num_repeats} if last else {}
