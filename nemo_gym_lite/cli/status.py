"""`ng_status`: shows the servers that a running `ng_run` keeps, whether they answer, and models' endpoints."""

import asyncio
import sys
from collections.abc import Sequence

import aiohttp
import orjson
from pydantic import AliasChoices, BaseModel, Field
from rich.table import Table

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.rollouts.tables import endpoint_table, print_table
from nemo_gym_lite.routing.snapshot import EndpointSnapshot
from nemo_gym_lite.serving.registry import fetch_servers

ANSWER_TIMEOUT_S = 2.0


class StatusOptions(BaseModel, frozen=True, extra="forbid"):
    """Show the servers that run, found through the head server (`+head_server.port=`, default 11000)."""

    as_json: bool = Field(default=False, validation_alias=AliasChoices("json"), description="print the records as JSON")


@command("ng_status", StatusOptions)
def main(argv: Sequence[str]) -> int:
    """Print what runs; returns the exit code."""
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
    """The head server's records, each with `healthy` and a model's `endpoints`; None if there is no head server."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        records = await fetch_servers(head, http)
        if records is None:
            return None
        found = await asyncio.gather(*(_look_at(record, http) for record in records))
    return [{**record, **more} for record, more in zip(records, found, strict=True)]


async def _look_at(record: Json, http: aiohttp.ClientSession) -> Json:
    try:
        async with http.get(record["url"]):
            pass
        if record["server_type"] != "responses_api_models":
            return {"healthy": True}
        async with http.get(f"{record['url']}/endpoints") as reply:
            known = await reply.json() if reply.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return {"healthy": False}
    return {"healthy": True, "endpoints": known} if known else {"healthy": True}


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
    print_table(table)
    endpoints = {record["process_name"]: known for record in records if (known := _endpoints_of(record))}
    if endpoints:
        print_table(endpoint_table(endpoints))
    healthy = sum(record["healthy"] for record in records)
    print(f"{len(records)} servers found ({healthy} healthy, {len(records) - healthy} unhealthy)")


def _endpoints_of(record: Json) -> list[EndpointSnapshot]:
    try:
        return [EndpointSnapshot(**each) for each in record.get("endpoints", ())]
    except TypeError:  # an author's own route of that name
        return []


if __name__ == "__main__":
    sys.exit(main())
