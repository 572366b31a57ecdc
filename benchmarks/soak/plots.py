"""Draws pictures as PNG files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.soak.verdict import Line, Panel, Picture

WIDTH_IN, PANEL_IN = 9.0, 2.4
COLOURS = ("#3366aa", "#ee7733", "#228866", "#aa3377", "#66aadd", "#999933", "#774411", "#555555")
LEVEL_COLOUR, MARK_COLOUR, SPAN_COLOUR = "#cc3311", "#777777", "#eeeeee"
mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def draw(picture: Picture, folder: Path) -> Path:
    """Write a picture and return its path."""
    rows = len(picture.panels)
    figure = Figure(figsize=(WIDTH_IN, PANEL_IN * rows + 0.9), layout="constrained", dpi=120)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for panel, axis in zip(picture.panels, axes, strict=True):
        _draw_panel(panel, axis)
    axes[-1].set_xlabel("seconds")
    figure.suptitle(picture.title, fontsize=11, fontweight="bold")
    path = folder / f"{picture.name}.png"
    figure.savefig(path)
    return path


def _draw_panel(panel: Panel, axis: Any) -> None:
    for from_s, until_s, name in panel.spans:
        axis.axvspan(from_s, until_s, color=SPAN_COLOUR, zorder=0)
        axis.text(
            (from_s + until_s) / 2,
            1.01,
            name,
            ha="center",
            va="bottom",
            transform=axis.get_xaxis_transform(),
            color=MARK_COLOUR,
        )
    for line, colour in zip(panel.lines, _colours(panel.lines), strict=True):
        axis.plot(
            line.x,
            line.y,
            label=line.label,
            color=colour,
            linewidth=1.4,
            linestyle=line.style,
            drawstyle="steps-post" if line.steps else "default",
        )
    for number, (at_s, name) in enumerate(panel.marks):
        axis.axvline(at_s, color=MARK_COLOUR, linewidth=0.8, linestyle=":", label=name if number == 0 else None)
    axis.set_ylabel(panel.y)
    if panel.log:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
        axis.margins(y=0.15)
    for height, name in panel.levels:
        axis.axhline(height, color=LEVEL_COLOUR, linewidth=1.0, linestyle="--")
        axis.annotate(
            name,
            (1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=LEVEL_COLOUR,
        )
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    if len(panel.lines) > 1 or panel.marks:
        axis.legend(
            loc="upper left", bbox_to_anchor=(1.08 if panel.levels else 1.01, 1.0), frameon=False, borderaxespad=0
        )


def _colours(lines: Iterable[Line]) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number, _ in enumerate(lines)]
