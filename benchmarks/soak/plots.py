"""Draws pictures as PNG files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.soak.verdict import Line, Panel, Picture

WIDTH_IN, PANEL_IN = 9.0, 2.4
COLOURS = ("#3366aa", "#ee7733", "#228866", "#aa3377", "#66aadd", "#999933", "#774411", "#555555")
MARK_STYLES = (":", "-.", "--")
LEVEL_STYLES = ("--", ":")
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
    axes[-1].set_xlim(left=0)
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
    styles = dict(zip(dict.fromkeys(name for _, name in panel.marks), MARK_STYLES, strict=False))
    for name, style in styles.items():
        moments = [at_s for at_s, each in panel.marks if each == name]
        ends = axis.get_xaxis_transform()
        axis.vlines(moments, 0, 1, color=MARK_COLOUR, linewidth=1.0, linestyle=style, label=name, transform=ends)
    axis.set_ylabel(panel.y)
    highest = max([*(height for height, _ in panel.levels), *(value for line in panel.lines for value in line.y)])
    axis.set_ylim(0, 1.1 * highest or 1)
    for (height, name), style in zip(panel.levels, LEVEL_STYLES, strict=False):
        axis.axhline(height, color=LEVEL_COLOUR, linewidth=1.1, linestyle=style, label=name)
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    if len(panel.lines) > 1 or panel.marks or panel.levels:
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0)


def _colours(lines: Iterable[Line]) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number, _ in enumerate(lines)]
