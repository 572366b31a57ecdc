"""`ng_run`: starts every server of the configuration and the head server, and keeps them until Ctrl-C."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from pydantic import BaseModel, Field
from rich.table import Table

from nemo_gym_lite.cli.common import EXIT_OK, command
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.compose import Composed, compose
from nemo_gym_lite.rollouts.tables import print_table
from nemo_gym_lite.serving.exporter import Exporter
from nemo_gym_lite.serving.head_server import HeadServer
from nemo_gym_lite.serving.launcher import Launcher, show_on_stderr
from nemo_gym_lite.serving.upstreams import check_endpoints_files, silent_upstreams


class RunOptions(BaseModel, frozen=True, extra="forbid"):
    """Start every server that the configuration names, restart what crashes, stop all on Ctrl-C."""

    dry_run: bool = Field(default=False, description="stop as soon as all servers were ready once")
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="serve all servers' metrics to Prometheus there; 0 takes a free port"
    )


@command("ng_run", RunOptions)
def main(argv: Sequence[str]) -> int:
    """Run until SIGINT or SIGTERM; returns the exit code."""
    composed = compose(argv, RunOptions)
    asyncio.run(_until_signal(_serve(composed)))
    return EXIT_OK


async def _until_signal(body: Coroutine[Any, Any, None]) -> None:
    """Run `body` until it ends or a signal asks to stop; a second signal ends the servers at once."""
    task = asyncio.ensure_future(body)
    stopped_by: list[signal.Signals] = []

    def stop(signum: signal.Signals) -> None:
        if not stopped_by:
            show_on_stderr(f"\n{signum.name}: stopping all servers")
        stopped_by.append(signum)
        task.cancel()

    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop, signum)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        show_on_stderr("all servers stopped")


async def _serve(composed: Composed[RunOptions]) -> None:
    began = time.monotonic()
    check_endpoints_files(composed.servers)
    launcher = Launcher(composed.servers, composed.tree)
    async with HeadServer(composed.head_server, composed.tree, launcher.records), launcher:
        ready_s = time.monotonic() - began
        _print_table(launcher.records())
        head = composed.head_server
        print(f"head server on http://{head.host}:{head.port}")
        ready = f"all {len(composed.servers)} servers ready in {ready_s:.1f} s"
        if composed.options.dry_run:
            print(ready)
            return
        async with _metrics(composed.options.metrics_port, launcher):
            print(f"{ready}; Ctrl-C stops them", flush=True)
            async with aiohttp.ClientSession() as http:
                for line in await silent_upstreams(composed.servers, http):
                    show_on_stderr(f"warning: {line}; rollouts will fail until it does")
            await asyncio.Event().wait()


@asynccontextmanager
async def _metrics(port: int | None, launcher: Launcher) -> AsyncIterator[None]:
    """Serve the metrics of all servers on one page, if a port is given for it."""
    if port is None:
        yield
        return
    async with Exporter(port, lambda: {each["process_name"]: each["url"] for each in launcher.records()}) as exporter:
        print(f"metrics on {exporter.url}")
        yield


def _print_table(records: Sequence[Json]) -> None:
    table = Table("server", "kind", "url", "pid")
    for record in records:
        kind = f"{record['server_type']}/{record['name']}"
        table.add_row(record["process_name"], kind, record["url"], str(record["pid"]))
    print_table(table)


if __name__ == "__main__":
    sys.exit(main())
