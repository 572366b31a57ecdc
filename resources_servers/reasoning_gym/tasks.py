"""Makes tasks: so many of each dataset, no two alike, the same for the same seed, and each one that can be scored."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError
from resources_servers.reasoning_gym.generators import make_dataset, score

INSTRUCTION = "Think step by step, then write nothing but the final answer between <answer> and </answer>."

_MOST_TRIES = 20
_LEAST_TRIES = 200
"""How often a dataset is asked for each task that is due, before it is taken to have no more that differ."""


@dataclass(slots=True)
class TaskMaker:
    """Makes tasks of one or several datasets.

    Attributes:
        weights: Datasets, and how large each one's share is beside the others'.
        seed: The same seed makes the same tasks, and a dataset's tasks do not depend on what is beside it.
        settings: Datasets' own settings by dataset.
        instruction: What a prompt says after the question; may be empty.
        made: Tasks made so far by dataset.
        short: Datasets that had fewer different tasks than were due.
    """

    weights: Mapping[str, float]
    seed: int
    settings: Mapping[str, Json] = field(default_factory=dict)
    instruction: str = INSTRUCTION
    made: Counter[str] = field(default_factory=Counter)
    short: set[str] = field(default_factory=set)

    def rows(self, size: int) -> Iterator[Json]:
        """Make `size` rows, shuffled; fewer where datasets run out of tasks that differ.

        Raises:
            ConfigError: A dataset does not exist, does not take its settings, or makes tasks that cannot be scored.
        """
        due = shares(self.weights, size)
        sources = {name: self._entries(name, count) for name, count in due.items()}
        order = [name for name, count in due.items() for _ in range(count)]
        Random(self.seed).shuffle(order)
        for name in order:
            if (entry := next(sources[name], None)) is not None:
                self.made[name] += 1
                yield self._row(name, entry)

    def _row(self, name: str, entry: Json) -> Json:
        content = f"{entry['question']}\n\n{self.instruction}" if self.instruction else entry["question"]
        settings = {"dataset_settings": self.settings[name]} if self.settings.get(name) else {}
        return {"responses_create_params": {"input": [{"role": "user", "content": content}]}, **entry, **settings}

    def _entries(self, name: str, count: int) -> Iterator[Json]:
        """The next tasks of a dataset that can be scored and whose question has not been asked."""
        tries = max(_LEAST_TRIES, _MOST_TRIES * count)
        settings = self.settings.get(name, {})
        dataset = make_dataset(name, settings, seed=library_seed(self.seed), size=tries)
        asked: set[int] = set()
        fault: Exception | None = None
        for index in range(tries):
            if len(asked) == count:
                return
            try:
                entry = _entry_of(dataset, index, name, settings)
            except Exception as error:  # a generator or scorer of the library failed; another task may do
                fault = error
                continue
            question = hash(entry["question"])
            if question not in asked:
                asked.add(question)
                yield entry
        if not asked:
            raise ConfigError(f"dataset {name} makes no task that can be scored from a file: {fault}") from fault
        self.short.add(name)


def library_seed(seed: int) -> int:
    """The library's seed for ours.

    The library makes task n of seed s from s + n, so its seeds 1 and 2 have nearly all tasks in common.
    """
    return Random(seed).getrandbits(31)


def shares(weights: Mapping[str, float], size: int) -> dict[str, int]:
    """How many of `size` tasks each dataset makes: in proportion, the remainder to the largest fractions."""
    total = sum(weights.values())
    exact = {name: size * weight / total for name, weight in weights.items()}
    whole = {name: int(share) for name, share in exact.items()}
    left = size - sum(whole.values())
    for name in sorted(exact, key=lambda name: whole[name] - exact[name])[:left]:
        whole[name] += 1
    return whole


def _entry_of(dataset: Any, index: int, name: str, settings: Json) -> Json:
    """Question, answer and metadata of one task, as they are when read from a file.

    Raises:
        Exception: The library cannot make the task, or thinks less of its right answer once it was in a file.
    """
    made = dataset[index]
    entry: Json = orjson.loads(orjson.dumps({name: made[name] for name in ("question", "answer")}))
    metadata = orjson.dumps(made["metadata"], option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    entry["metadata"] = {**orjson.loads(metadata), "source_dataset": name, "source_index": index}
    if entry["answer"] is not None:
        before = float(dataset.score_answer(entry["answer"], made))
        after = score(entry, entry["answer"], settings).value
        if after < before or not after:
            raise ValueError(f"its scorer gives {after:g} to the right answer read from a file, and {before:g} before")
    return entry
