"""The report of a soak: a summary, then each scenario with its figures and pictures, in Markdown."""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.soak.plots import draw
from benchmarks.soak.verdict import Figure, Verdict


def write_report(folder: Path, verdicts: Sequence[Verdict], *, quick: bool) -> Path:
    """Draw the pictures and write `report.md`; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Soak", "", _surroundings(verdicts, quick=quick), "", *_summary(verdicts)]
    for verdict in verdicts:
        lines += ["", f"## {verdict.number}. {verdict.title}", "", f"> {verdict.promise}", ""]
        for error in verdict.errors:
            lines += ["**A part could not be played to its end:**", "", "```", error.rstrip(), "```", ""]
        lines += _table(verdict.figures)
        lines += ["", *verdict.notes] if verdict.notes else []
        for picture in verdict.pictures:
            lines += ["", f"![{picture.title}]({draw(picture, folder).name})"]
    path = folder / "report.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def _surroundings(verdicts: Sequence[Verdict], *, quick: bool) -> str:
    minutes = sum(verdict.wall_s for verdict in verdicts) / 60
    form = "quick form" if quick else "full form"
    cores, load = os.cpu_count(), os.getloadavg()[2]
    return (
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {form}, {minutes:.0f} minutes, Python "
        f"{platform.python_version()}, {cores} cores, load of the last 15 minutes {load:.1f}. Real commands against "
        "simulated engines in processes of their own; the engines' counters decide."
    )


def _summary(verdicts: Sequence[Verdict]) -> list[str]:
    lines = ["| scenario | bars met | time | |", "|---|---|---|---|"]
    for verdict in verdicts:
        barred = [figure for figure in verdict.figures if figure.met is not None]
        met = sum(bool(figure.met) for figure in barred)
        state = "**met**" if verdict.met else "**not played**" if verdict.errors else "**MISSED**"
        lines.append(
            f"| {verdict.number}. {verdict.title} | {met} of {len(barred)} | {verdict.wall_s:.0f} s | {state} |"
        )
    return lines


def _table(figures: Sequence[Figure]) -> list[str]:
    if not figures:
        return []
    lines = ["| measured | value | bar | |", "|---|---|---|---|"]
    for figure in figures:
        state = "" if figure.met is None else "met" if figure.met else "**MISSED**"
        lines.append(f"| {figure.what} | {figure.measured} | {figure.bar} | {state} |")
    return lines
