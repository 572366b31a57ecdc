"""`ng_collect_rollouts`: tasks in, scored rollouts out, every one exactly once."""

import asyncio
import gc
import logging
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import uvloop

from nemo_gym_lite.cli.common import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    asks_for_help,
    print_help,
    run_command,
)
from nemo_gym_lite.config.compose import Composed, compose
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.rollouts.collection import Collection, Outcome
from nemo_gym_lite.rollouts.connect import connect, processes, seats, servers_of
from nemo_gym_lite.rollouts.discovery import Neighbours, find_servers, plain
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.progress import TerminalLog, first_line, say
from nemo_gym_lite.rollouts.request import Request, make_request
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.launcher import Launcher
from nemo_gym_lite.serving.server import GC_THRESHOLDS
from nemo_gym_lite.serving.upstreams import silent_upstreams

EXIT_SOME_FAILED = 3


def main() -> int:
    """Run the command; exit codes are those of DESIGN: 0 all, 2 usage, 3 some failed, 130 interrupted."""
    argv = sys.argv[1:]
    if asks_for_help(argv):
        return print_help(CollectOptions, "ng_collect_rollouts")
    return run_command(lambda: _collect(compose(argv, CollectOptions, needs_servers=False)))


def _collect(composed: Composed[CollectOptions]) -> int:
    request = make_request(composed.options)
    _raise_file_limit()
    logging.basicConfig(level=logging.WARNING, handlers=[TerminalLog()])
    gc.set_threshold(*GC_THRESHOLDS)
    return uvloop.run(_run(composed, request))


async def _run(composed: Composed[CollectOptions], request: Request) -> int:
    options = request.options
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(options.deadlines))
        neighbours = await find_servers(composed, http)
        placed = seats(neighbours.servers, request.agent_names, models_near=neighbours.whole)
        tree = plain(neighbours.tree)
        clients = connect(placed, http, options.deadlines, tree)
        stack.push_async_callback(clients.close)
        collection = Collection(request, request.asked(servers_of(placed)), mask_secrets(tree))
        stack.callback(collection.close)
        if not neighbours.running:
            started = processes(placed, neighbours.servers)
            await stack.enter_async_context(Launcher(started, neighbours.tree, show=say))
        for line in await silent_upstreams([seat.model for seat in placed if seat.model and seat.model_near], http):
            say(f"warning: {line}")
        _say_beginning(collection, neighbours)
        with _stopping_on_signals(collection):
            outcome = await collection.run(clients)
        return _report(request, outcome)


def _raise_file_limit() -> None:
    """Each rollout in flight holds a socket; the default limit of 1,024 files would cap concurrency silently."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _stopping_on_signals(collection: Collection) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        say("stopping: rollouts in flight may finish; press Ctrl-C again to cancel them")
        collection.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _say_beginning(collection: Collection, neighbours: Neighbours) -> None:
    if neighbours.running and not neighbours.whole:
        say("no token of the running ng_run was found, so models are used through their servers")
    if collection.sink.rollouts.torn_bytes:
        say(f"cut off a torn last line of {collection.sink.rollouts.torn_bytes} bytes; its rollout is owed again")
    if collection.done.malformed:
        say(f"{collection.done.malformed} lines of the output are not JSON; their rollouts are owed again")
    if collection.done.rows:
        say(f"{collection.done.rows} rollouts are there already; playing what is missing")


def _report(request: Request, outcome: Outcome) -> int:
    tally, files = outcome.tally, request.files
    rate = tally.delivered / max(outcome.elapsed_s, 1e-9)
    say(f"{tally.delivered} rollouts in {outcome.elapsed_s:.1f} s ({rate:.1f}/s), {tally.kept} kept from before")
    for agent, metrics in outcome.key_metrics.items():
        shown = ", ".join(f"{name}={value:.4g}" for name, value in _flat(metrics).items())
        say(f"{agent}: {shown}")
    if tally.failed:
        say(f"{tally.failed} failed: {files.failures}")
        for name, count in tally.failure_classes.items():
            say(f"  {count} {name}, for instance: {first_line(tally.first_failures[name])}")
    say(f"rollouts: {files.rollouts}")
    if outcome.key_metrics:
        say(f"metrics:  {files.metrics}")
    if outcome.interrupted:
        say("interrupted; the same command goes on where this one stopped")
        return EXIT_INTERRUPTED
    return EXIT_SOME_FAILED if tally.failed else EXIT_OK


def _flat(metrics: dict[str, object]) -> dict[str, float]:
    """The averages as the user's documents show them: `reward=0.73`, without `mean/`."""
    return {name.removeprefix("mean/"): value for name, value in metrics.items() if isinstance(value, int | float)}


if __name__ == "__main__":
    sys.exit(main())
