"""Sets a collection up, from its servers to its signals, and takes it all down again."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext

from nemo_gym_lite.arms.affinity import with_tasks_together
from nemo_gym_lite.config.compose import Composed
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.account import account
from nemo_gym_lite.rollouts.collection import Collection, Outcome
from nemo_gym_lite.rollouts.conduct import answering
from nemo_gym_lite.rollouts.connect import Clients, Seat, connect, processes, seats, servers_of
from nemo_gym_lite.rollouts.crew import Crew, LocalCrew
from nemo_gym_lite.rollouts.deferred import refuse_what_cannot_wait
from nemo_gym_lite.rollouts.discovery import Neighbours, find_servers
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.output import Output
from nemo_gym_lite.rollouts.player import Player
from nemo_gym_lite.rollouts.progress import say
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.rollouts.worker import Setup
from nemo_gym_lite.rollouts.workers import WorkerCrew
from nemo_gym_lite.routing.engine_metrics import OwnEngine
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.exporter import Exporter
from nemo_gym_lite.serving.launcher import Launcher
from nemo_gym_lite.serving.upstreams import check_endpoints_files, silent_upstreams


async def run(composed: Composed[CollectOptions], request: Request) -> Outcome:
    """Play a request with running servers or with its own, which are stopped at the end.

    Ctrl-C or SIGTERM lets rollouts in flight finish; a second one cancels them. SIGUSR1 prints what the run does.

    Raises:
        ConfigError: An agent is not configured, a file of endpoints gives none, or the output was begun with other
            settings.
        OutputError: The output is in use, not ours, or cannot be written.
        ServerStartError: A server did not come up, or would not stay up.
    """
    options = request.options
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(options.deadlines))
        neighbours = await find_servers(composed, http)
        if request.settings.arms:
            neighbours = with_tasks_together(neighbours, request.agent_names)
        placed = seats(neighbours.servers, request.agent_names, models_near=neighbours.whole)
        ours = [seat.model for seat in placed if seat.model and (seat.model_near or not neighbours.running)]
        check_endpoints_files(ours)
        scored = options.verify == "inline"
        clients = connect(placed, http, options.deadlines, neighbours.tree, scored=scored)
        stack.push_async_callback(clients.close)
        _refuse_what_an_engine_inside_cannot(options, clients)
        ticker = Ticker()
        asked, config = request.asked(servers_of(placed)), mask_secrets(neighbours.tree)
        collection = Collection(request, asked, config, account(options, placed))
        stack.callback(collection.close)
        started = await _start(stack, placed, neighbours, clients.engines() if collection.owes() else ())
        if not scored:
            await refuse_what_cannot_wait(clients.resources, "verify=deferred")
        for line in await silent_upstreams([seat.model for seat in placed if seat.model and seat.model_near], http):
            say(f"warning: {line}")
        _say_beginning(collection.output, neighbours)
        if options.metrics_port is not None:
            urls = {server.name: server.url for server in started}
            exporter = Exporter(options.metrics_port, lambda: urls, collection.families)
            say(f"metrics on {(await stack.enter_async_context(exporter)).url}")
        player = Player(clients.agents, options.deadlines.episode_s, scored=scored)
        crew: Crew = LocalCrew(player, clients.models, ticker)
        if options.num_workers > 1:
            crew = await stack.enter_async_context(WorkerCrew(_setup(request, neighbours), ticker, say))
        with _answering_signals(collection):
            return await collection.run(crew, clients, ticker, http)


def _refuse_what_an_engine_inside_cannot(options: CollectOptions, clients: Clients) -> None:
    if len(engines := clients.engines()) > 1:
        raise ConfigError(
            f"{' and '.join(each.base_url for each in engines)}: one process holds one engine",
            "leave one of them inside, and let the others be local_vllm_model",
        )
    if options.num_workers > 1 and engines:
        raise ConfigError(
            f"num_workers={options.num_workers}: the engine is in the collector's process, where workers are not",
            "leave num_workers out; rollouts wait for the engine, not for the collector",
        )


async def _start(
    stack: AsyncExitStack, placed: Sequence[Seat], neighbours: Neighbours, engines: Iterable[OwnEngine]
) -> Sequence[ServerInstance]:
    """Start what rollouts need and nobody runs yet; returns the servers among it, which end with the stack."""
    started = [] if neighbours.running else processes(placed, neighbours.servers)
    if started:
        await stack.enter_async_context(Launcher(started, neighbours.tree, show=say))
    for engine in engines:
        if token := neighbours.tree.get("hf_token"):
            os.environ["HF_TOKEN"] = token  # where it looks for one
        await stack.enter_async_context(engine)
    return started


def _setup(request: Request, neighbours: Neighbours) -> Setup:
    options = request.options
    return Setup(
        tree=neighbours.tree,
        agents=request.agent_names,
        models_near=neighbours.whole,
        deadlines=options.deadlines,
        scored=options.verify == "inline",
        workers=options.num_workers,
    )


def _answering_signals(collection: Collection) -> AbstractContextManager[None]:
    if threading.current_thread() is not threading.main_thread():
        return nullcontext()  # a library's caller, who alone can hear signals

    def stop() -> None:
        say("stopping: rollouts in flight may finish; press Ctrl-C again to cancel them")
        collection.stop()

    return answering(
        asyncio.get_running_loop(),
        {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGUSR1: collection.tell},
    )


def _say_beginning(output: Output, neighbours: Neighbours) -> None:
    if neighbours.running and not neighbours.whole:
        say("no token of the running ng_run was found, so models are used through their servers")
    if torn_bytes := output.sink.rollouts.torn_bytes:
        say(f"cut off a torn last line of {torn_bytes} bytes; its rollout is owed again")
    if output.done.malformed:
        say(f"{output.done.malformed} lines of the output are not JSON; their rollouts are owed again")
    if output.done.rows:
        say(f"{output.done.rows} rollouts are there already; playing what is missing")
