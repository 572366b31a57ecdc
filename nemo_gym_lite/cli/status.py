"""`ng_status`: shows the servers that a running `ng_run` keeps, and whether they answer."""

import asyncio
import sys
from collections.abc import Sequence

import aiohttp
import orjson
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from rich.console import Console
from rich.table import Table

from nemo_gym_lite.cli.common import EXIT_OK, asks_for_help, print_help, run_command
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.serving.registry import fetch_servers

ANSWER_TIMEOUT_S = 2.0

PLAIN_WIDTH = 200
"""Columns of the table where the output is no terminal."""


class StatusOptions(BaseModel):
    """Show the servers that run, found through the head server (`+head_server.port=`, default 11000)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_json: bool = Field(default=False, validation_alias=AliasChoices("json"), description="print the records as JSON")


def status(argv: Sequence[str]) -> int:
    """Print what runs; returns the exit code."""
    if asks_for_help(argv):
        return print_help(StatusOptions, "ng_status")
    composed = compose(argv, StatusOptions, needs_servers=False)
    records = asyncio.run(_records(composed.head_server))
    if composed.options.as_json:
        print(orjson.dumps(records or [], option=orjson.OPT_INDENT_2).decode())
    elif records is None:
        head = composed.head_server
        print(f"No NeMo Gym servers found running (nothing answers on {head.host}:{head.port}).")
    else:
        _print_table(records)
    return EXIT_OK


async def _records(head: HeadServerConfig) -> list[Json] | None:
    """The head server's records, each with `healthy`; None when there is no head server."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        records = await fetch_servers(head, http)
        if records is None:
            return None
        answers = await asyncio.gather(*(_answers(record["url"], http) for record in records))
    return [{**record, "healthy": healthy} for record, healthy in zip(records, answers, strict=True)]


async def _answers(url: str, http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get(url):
            return True
    except (aiohttp.ClientError, TimeoutError):
        return False


def _print_table(records: Sequence[Json]) -> None:
    table = Table("", "server", "kind", "url", "pid", "up", "restarts")
    for record in records:
        table.add_row(
            "✓" if record["healthy"] else "✗",
            record["process_name"],
            f"{record['server_type']}/{record['name']}",
            record["url"],
            str(record["pid"]),
            f"{record['uptime_seconds']:.0f} s",
            str(record["restarts"]),
        )
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)
    healthy = sum(record["healthy"] for record in records)
    print(f"{len(records)} servers found ({healthy} healthy, {len(records) - healthy} unhealthy)")


def main() -> int:
    """Entry point of the command."""
    return run_command(lambda: status(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
