"""Reads rollouts that were stored, each identity once and the newest of it, as specs of what is to be scored."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import parse_row, read_rows
from nemo_gym_lite.rollouts.fingerprints import FingerprintSet, FingerprintTable
from nemo_gym_lite.rollouts.plan import Spec, agent_name_of, identity
from nemo_gym_lite.row_fields import CONTIGUOUS, KEY, ROLLOUT_INDEX, TASK_INDEX

REWARD_BEFORE = "reward_before"
"""Field of a scored row: the reward that it had when it was stored."""

OF_THE_PLAY = ("usage", CONTIGUOUS)
"""Fields of a row that say how its rollout was played, which a check is not told and does not change."""

_SIDECAR = "_failures"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file of rollouts holds.

    Attributes:
        path: The file.
        rollouts: Rollouts that can be scored.
        agents: Instance names of the agents that played them.
        without_response: Lines that cannot be scored, because their rollout failed before its end.
        delivered_since: Rollouts of a sidecar that the output beside it holds by now.
        digest: Hash of the file's bytes.
        newest: By identity, the number of the line that counts.
    """

    path: Path
    rollouts: int
    agents: list[str]
    without_response: int
    delivered_since: int
    digest: str
    newest: FingerprintTable

    def specs(self) -> Iterator[Spec]:
        """Every rollout to score, lazily, in the order of the file."""
        for number, row in enumerate(read_rows(self.path)):
            if row is not None and isinstance(row.get("response"), dict):
                spec = _spec(row)
                if spec is not None and self.newest.get(spec.identity) == number:
                    yield spec


def read_stored(path: Path) -> Stored:
    """Read the whole file once, a line at a time.

    Raises:
        ConfigError: It cannot be read, another program wrote it, or there is nothing to score in it.
    """
    newest, digest = FingerprintTable(), blake2b(digest_size=16)
    agents: dict[str, None] = {}
    elsewhere, since = _delivered_beside(path), FingerprintSet()
    without_response = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file):
                digest.update(line)
                row = parse_row(line)
                if row is None or not isinstance(row.get("response"), dict):
                    without_response += bool(line.strip())
                    continue
                spec = _spec(row)
                if spec is None:
                    raise ConfigError(
                        f"{path}, line {number + 1}: `{KEY}` or other labels of a rollout are missing",
                        "give a file that ng_collect_rollouts wrote",
                    )
                if spec.identity in elsewhere:
                    since.add(spec.identity)
                    continue
                newest.set(spec.identity, number)
                agents[spec.agent_name] = None
    except OSError as error:
        raise ConfigError(f"input_jsonl_fpath: cannot read {path}: {error.strerror}") from error
    if not len(newest):
        raise ConfigError(
            f"input_jsonl_fpath: {path} holds nothing to score: {without_response} lines without a `response`, "
            f"{len(since)} rollouts that were delivered since",
            "of a sidecar's lines those have one of which only the check failed; ng_collect_rollouts plays the others",
        )
    return Stored(path, len(newest), list(agents), without_response, len(since), digest.hexdigest(), newest)


def _delivered_beside(path: Path) -> FingerprintSet:
    """What the output of a sidecar holds, so that no rollout is scored in two files; empty for any other file."""
    found = FingerprintSet()
    output = path.with_name(f"{path.stem.removesuffix(_SIDECAR)}{path.suffix}")
    if path.stem.endswith(_SIDECAR) and output.is_file():
        for row in read_rows(output):
            if row is not None and (spec := _spec(row)) is not None:
                found.add(spec.identity)
    return found


def _spec(row: Json) -> Spec | None:
    """A stored row as a spec, None if it is not labelled as ours are.

    What a row holds before its `response` is the task as asked; what follows is a verdict, which will be another, but
    for what the rollout itself comes to (`OF_THE_PLAY`).
    """
    key, task, index, agent = row.get(KEY), row.get(TASK_INDEX), row.get(ROLLOUT_INDEX), agent_name_of(row)
    if not isinstance(key, str) or not isinstance(task, int) or not isinstance(index, int) or agent is None:
        return None
    kept: Json = {}
    for name, value in row.items():
        if name == "response":
            break
        kept[name] = value
    kept |= {name: row[name] for name in ("response", *OF_THE_PLAY) if name in row}
    if "reward" in row:
        kept[REWARD_BEFORE] = row["reward"]
    return Spec(kept, key, task, index, agent, identity(key, index))
