"""Tables for people: the endpoints of models, each with its state and its load."""

import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from shutil import get_terminal_size

from rich.console import Console
from rich.table import Table

from nemo_gym_lite.routing.snapshot import EndpointSnapshot

_PLAIN_WIDTH = 200
"""Columns of a table where the output is no terminal."""

_ERROR_CHARACTERS = 40


def endpoint_table(endpoints: Mapping[str, Sequence[EndpointSnapshot]]) -> Table:
    """The endpoints of each model, a line each."""
    table = Table("model", "endpoint", "state", "in flight", "sessions", "answered", "failed", "latency", "last error")
    for column in table.columns[3:8]:
        column.justify = "right"
    for model, known in endpoints.items():
        for each in known:
            latency = "-" if each.mean_latency_s is None else f"{each.mean_latency_s:.2f} s"
            counts = map(str, (each.in_flight, each.sessions, each.answered, each.failed))
            table.add_row(model, each.base_url, each.state, *counts, latency, _short(each))
    return table


def print_table(table: Table) -> None:
    """Print the table on stdout."""
    Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH).print(table)


def as_text(table: Table) -> str:
    """The table as lines without colours, no wider than the terminal."""
    target = StringIO()
    Console(file=target, width=get_terminal_size((_PLAIN_WIDTH, 24)).columns).print(table)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines())


def _short(endpoint: EndpointSnapshot) -> str:
    line = endpoint.last_error.partition("\n")[0].replace(endpoint.base_url, "")
    return line if len(line) <= _ERROR_CHARACTERS else f"{line[: _ERROR_CHARACTERS - 3]}..."
