"""What was measured and what could not be, as a table with ratios and as JSON. Knows neither vLLM nor a GPU."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

TITLES = {
    "offline": "`LLM.generate`, that many a call",
    "bare": "`vllm serve`, a bare client",
    "near": "`vllm serve`, the collector",
    "served": "`vllm serve`, the collector, a model server between",
    "engine": "the collector with the engine inside",
}
"""The ways to an engine, from the least to the most; the first is vLLM alone."""

PLACEMENTS = {
    "prefix-random": "bare client, any server",
    "prefix-session": "collector, `session_affinity: session`",
    "prefix-task": "collector, `session_affinity: task`",
}
"""How repeats of a prompt are placed on two servers; the first is the yardstick."""

NO_GPUS = "none"
"""What a report says of a machine without GPUs, which goals are not for."""

GOALS = (("near", "bare", 0.97, 1), ("engine", "offline", 0.90, 256))
"""(way, of which other, at least, from how many in flight)."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured run.

    Attributes:
        way: A key of `TITLES` or of `PLACEMENTS`.
        in_flight: Requests at a time.
        requests: How many were answered.
        wall_s: Seconds from the first request to the last answer.
        prompt_tokens: Tokens of all prompts.
        output_tokens: Tokens of all answers.
        cpu_s: CPU of the client in seconds, without its start; None where the engine is in the same process, or where
            the requests are too few to tell.
        hit_rate: Share of prompt tokens that the servers' prefix caches held; None where nobody looked.
        gpu: Means of the GPU's `power_w`, `busy_pct` and `memory_gib`; None without `pynvml`.
    """

    way: str
    in_flight: int
    requests: int
    wall_s: float
    prompt_tokens: int
    output_tokens: int
    cpu_s: float | None = None
    hit_rate: float | None = None
    gpu: dict[str, float] | None = None

    @property
    def per_s(self) -> float:
        """Requests per second."""
        return self.requests / self.wall_s

    @property
    def tokens_per_s(self) -> float:
        """Tokens of answers per second."""
        return self.output_tokens / self.wall_s

    @property
    def cpu_ms(self) -> float | None:
        """The client's CPU for each request, in milliseconds."""
        return None if self.cpu_s is None else self.cpu_s / self.requests * 1e3


@dataclass(frozen=True, slots=True)
class Problem:
    """What was not measured.

    Attributes:
        way: A key of `TITLES` or of `PLACEMENTS`.
        in_flight: Requests at a time; None if it is about all numbers.
        reason: Why, in one line.
    """

    way: str
    in_flight: int | None
    reason: str


@dataclass(slots=True)
class Report:
    """All figures and problems, and what they are about.

    Attributes:
        about: Versions, model, machine and settings, by name.
        figures: Measured runs; several of the same kind are rounds.
        problems: What was not measured.
    """

    about: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def forget(self, ways: Iterable[str]) -> None:
        """Drop what is to be measured anew."""
        again = set(ways)
        self.figures = [each for each in self.figures if each.way not in again]
        self.problems = [each for each in self.problems if each.way not in again]

    def middle(self, way: str, in_flight: int) -> Figure | None:
        """The round in the middle by speed; None if there is none."""
        rounds = [each for each in self.figures if (each.way, each.in_flight) == (way, in_flight)]
        return sorted(rounds, key=lambda each: each.per_s)[(len(rounds) - 1) // 2] if rounds else None

    def ratio(self, way: str, other: str, in_flight: int) -> float | None:
        """Requests per second of one way by those of another, medians of their rounds; None if one is missing."""
        rates = [
            [each.per_s for each in self.figures if (each.way, each.in_flight) == (name, in_flight)]
            for name in (way, other)
        ]
        return median(rates[0]) / median(rates[1]) if all(rates) else None

    def sizes(self, ways: Iterable[str]) -> list[int]:
        """Every number in flight that one of `ways` was to be measured at, ascending."""
        wanted = set(ways)
        known: list[tuple[str, int | None]] = [(each.way, each.in_flight) for each in self.figures]
        known += [(each.way, each.in_flight) for each in self.problems]
        return sorted({size for way, size in known if way in wanted and size is not None})

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """What `write` wrote."""
        found = json.loads(path.read_text())
        figures = [Figure(**each) for each in found["figures"]]
        return cls(found["about"], figures, [Problem(**each) for each in found["problems"]])


def page(report: Report) -> str:
    """The report as Markdown."""
    parts = [_about(report), _table(report, TITLES, _way_line, _WAY_HEAD)]
    if report.sizes(PLACEMENTS) or any(each.way in PLACEMENTS for each in report.problems):
        parts += [_prefix_about(report), _table(report, PLACEMENTS, _placement_line, _PLACEMENT_HEAD)]
    if report.about.get("GPUs") != NO_GPUS:
        parts.append("\n".join(goals(report)))
    return "\n\n".join(part for part in parts if part) + "\n"


def goals(report: Report) -> list[str]:
    """One line for each goal that figures can be held to: the worst ratio, and whether it suffices."""
    lines = []
    for way, other, least, from_in_flight in GOALS:
        sizes = [size for size in report.sizes(TITLES) if size >= from_in_flight]
        ratios = [(ratio, size) for size in sizes if (ratio := report.ratio(way, other, size)) is not None]
        if ratios:
            worst, size = min(ratios)
            verdict = f"goal {least:.0%} {'met' if worst >= least else 'MISSED'}"
            lines.append(f"- {TITLES[way]}: at least {worst:.1%} of {TITLES[other]} (that at {size:,}); {verdict}")
    return lines


_WAY_HEAD = ("in flight", "way", "requests/s", "tokens/s", "client CPU per request", "of bare", "of offline")
_PLACEMENT_HEAD = ("in flight", "placement of repeats", "requests/s", "prefix cache hits", "of any server")


def _way_line(report: Report, figure: Figure) -> list[str]:
    cpu = "-" if figure.cpu_ms is None else f"{figure.cpu_ms:.2f} ms"
    rates = [f"{figure.per_s:.2f}", f"{figure.tokens_per_s:,.0f}", cpu]
    return [*rates, *(_percent(report.ratio(figure.way, other, figure.in_flight)) for other in ("bare", "offline"))]


def _placement_line(report: Report, figure: Figure) -> list[str]:
    yardstick = next(iter(PLACEMENTS))
    ratio = report.ratio(figure.way, yardstick, figure.in_flight)
    return [f"{figure.per_s:.2f}", _percent(figure.hit_rate), _percent(ratio)]


def _table(report: Report, titles: dict[str, str], line: Any, head: Sequence[str]) -> str:
    rows: list[list[str]] = []
    for size in report.sizes(titles):
        for way, title in titles.items():
            if figure := report.middle(way, size):
                rows.append([f"{size:,}", title, *line(report, figure)])
            rows += [
                _missing(titles, each, head) for each in report.problems if (each.way, each.in_flight) == (way, size)
            ]
    rows += [_missing(titles, each, head) for each in report.problems if each.in_flight is None and each.way in titles]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _missing(titles: dict[str, str], problem: Problem, head: Sequence[str]) -> list[str]:
    size = "all" if problem.in_flight is None else f"{problem.in_flight:,}"
    reason = problem.reason.replace("|", "/")
    return [size, titles[problem.way], f"not measured: {reason}", *[""] * (len(head) - 3)]


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"


def _about(report: Report) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in report.about.items() if name != "repeats")


def _prefix_about(report: Report) -> str:
    return f"Two servers that share the machine, {report.about.get('repeats', 'several repeats of each prompt')}:"
