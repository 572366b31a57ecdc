"""One machine's part of an input: every n-th task, so that parts are equal and each knows its own without asking."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

_NAME = re.compile(r"(?P<whole>.+)_shard_(?P<number>\d+)_of_(?P<of>\d+)")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `of`, counted from 1.

    Raises:
        ValueError: There is no such part.
    """

    WRITTEN: ClassVar[str] = "i/n"
    """What users write, for the lists of options."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"there is no shard {self}: the first of {self.of} is 1/{self.of}")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `2/8`.

        Raises:
            ValueError: The text is no shard.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise ValueError("a shard is written 1/8 (the first of eight)")
        return cls(int(number), int(of))

    def owns(self, label: int) -> bool:
        """Whether the task with this label is played here; identical rows share a label and so a shard."""
        return label % self.of == self.number - 1

    def path(self, whole: Path) -> Path:
        """Where this part's rollouts go: `X_shard_2_of_8.jsonl` beside `X.jsonl`."""
        return whole.with_name(f"{whole.stem}_shard_{self.number}_of_{self.of}{whole.suffix}")


def shard_of(path: Path) -> tuple[Path, Shard] | None:
    """The whole output and the part that a file name like `X_shard_2_of_8.jsonl` speaks of, None for other names."""
    match = _NAME.fullmatch(path.stem)
    if match is None or not 1 <= int(match["number"]) <= int(match["of"]):
        return None
    return path.with_name(match["whole"] + path.suffix), Shard(int(match["number"]), int(match["of"]))
