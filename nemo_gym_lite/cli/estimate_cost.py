"""`ng_estimate_cost`: what a whole input will take in tokens, dollars and time, from a few of its rows."""

import logging
import sys
from collections.abc import Callable, Sequence

import uvloop
from rich.console import Console
from rich.table import Table

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.rollouts.estimate import Estimate, EstimateOptions, estimate
from nemo_gym_lite.rollouts.progress import TerminalLog, say
from nemo_gym_lite.rollouts.projection import Projection
from nemo_gym_lite.serving.server import prepare_for_load

_LABELS = {
    "input_tokens": "input tokens",
    "cached_tokens": "  of them cached",
    "output_tokens": "output tokens",
    "cost_usd": "cost",
}
_PLAIN_WIDTH = 120


@command("ng_estimate_cost", EstimateOptions, outlives_threads=True)
def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 for an estimate, 1 if no rollout came out, 2 wrong usage."""
    composed = compose(argv, EstimateOptions, needs_servers=False)
    logging.basicConfig(level=logging.WARNING, handlers=[TerminalLog()])
    prepare_for_load()
    _print(uvloop.run(estimate(composed)))
    return EXIT_OK


def _print(found: Estimate) -> None:
    table = Table("", title=f"{found.rollouts:,} rollouts, projected from {found.played:,}", title_justify="left")
    for heading in ("one rollout", "all", "90 % interval"):
        table.add_column(heading, justify="right")
    for name, projection in found.figures.items():
        _add(table, _LABELS[name], projection, _dollars if name == "cost_usd" else _count)
    if found.seconds is not None:
        one = found.seconds.scaled(found.in_flight).each
        _add(table, f"time with {found.in_flight} in flight", found.seconds, duration, one)
    Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH).print(table)
    if found.failed:
        say(f"{found.failed} rollouts failed and are in no figure")
    if found.unpriced:
        names = ", ".join(sorted(found.unpriced))
        say(f"no cost: {names} has no price; add one with +prices=my_prices.yaml (docs/guides/budgets.md)")


def _add(
    table: Table, label: str, projection: Projection, written: Callable[[float], str], one: float | None = None
) -> None:
    interval = "-"
    if projection.low is not None and projection.high is not None:
        interval = f"{written(projection.low)} to {written(projection.high)}"
    table.add_row(label, written(projection.each if one is None else one), written(projection.total), interval)


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _dollars(number: float) -> str:
    return f"${number:,.2f}" if number >= 1 else f"${number:.3g}"


def duration(seconds: float) -> str:
    """Seconds as people say them: `0.4 s`, `25 min`, `3.2 h`, `2.1 days`."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


if __name__ == "__main__":
    sys.exit(main())
