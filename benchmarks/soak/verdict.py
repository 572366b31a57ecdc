"""What a scenario found: figures beside their bars, and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    Attributes:
        what: What was measured.
        measured: The value with its unit.
        bar: What the value must be; empty for a value that is only told.
        met: Whether it is; None where there is no bar.
    """

    what: str
    measured: str
    bar: str = ""
    met: bool | None = None


def at_most(what: str, measured: float, bar: float, unit: str = "") -> Figure:
    """A figure that must not be above its bar."""
    return Figure(what, number(measured, unit), f"≤ {number(bar, unit)}", measured <= bar)


def at_least(what: str, measured: float, bar: float, unit: str = "") -> Figure:
    """A figure that must not be below its bar."""
    return Figure(what, number(measured, unit), f"≥ {number(bar, unit)}", measured >= bar)


def exactly(what: str, measured: object, bar: object) -> Figure:
    """A figure that must be what it should be."""
    return Figure(what, _text(measured), f"= {_text(bar)}", measured == bar)


def told(what: str, measured: object, unit: str = "") -> Figure:
    """A figure without a bar."""
    return Figure(what, number(measured, unit) if isinstance(measured, float) else f"{_text(measured)}{_spaced(unit)}")


def number(value: float, unit: str = "") -> str:
    """A value as people write it, with its unit."""
    if isinstance(value, int) or value == int(value) or abs(value) >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
    return f"{text}{_spaced(unit)}"


def _spaced(unit: str) -> str:
    return f" {unit}" if unit and (unit[0].isalpha() or unit == "%") else unit


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        label: Its name in the legend.
        x: Seconds.
        y: Values, as many.
        steps: Whether a value holds until the next one.
        style: matplotlib's line style.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    steps: bool = False
    style: str = "-"


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes.

    Attributes:
        y: Name of the vertical axis.
        lines: The curves.
        levels: (height, name) of horizontal lines.
        marks: (second, name) of moments.
        spans: (from, to, name) of times.
    """

    y: str
    lines: Sequence[Line]
    levels: Sequence[tuple[float, str]] = ()
    marks: Sequence[tuple[float, str]] = ()
    spans: Sequence[tuple[float, float, str]] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """Panels above each other over the same seconds."""

    name: str
    title: str
    panels: Sequence[Panel]


@dataclass(slots=True)
class Verdict:
    """What one scenario found.

    Attributes:
        title: The scenario's name.
        promise: What the issue asks of it.
        wall_s: Seconds that it took.
        errors: Why parts of it could not be played to their end.
    """

    number: int
    title: str
    promise: str
    figures: list[Figure] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    errors: list[str] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether it was played and every bar is met."""
        return not self.errors and bool(self.figures) and all(figure.met is not False for figure in self.figures)
