"""`ng_collect_rollouts`: tasks in, scored rollouts out, every one exactly once."""

import asyncio
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import uvloop
import yaml

from nemo_gym_lite.cli.common import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    asks_for_help,
    print_help,
    run_command,
)
from nemo_gym_lite.config.compose import Composed, compose
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.config.roots import find, locations
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.collection import Collection, Outcome, Request
from nemo_gym_lite.rollouts.connect import Seat, connect, processes, seats
from nemo_gym_lite.rollouts.discovery import Neighbours, find_servers, plain
from nemo_gym_lite.rollouts.manifest import flatten, what_decides
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.plan import PlanSettings, as_asked
from nemo_gym_lite.rollouts.source import InputSummary, check_input
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.launcher import Launcher

EXIT_SOME_FAILED = 3


def main() -> int:
    """Run the command; exit codes are those of DESIGN: 0 all, 2 usage, 3 some failed, 130 interrupted."""
    argv = sys.argv[1:]
    if asks_for_help(argv):
        return print_help(CollectOptions, "ng_collect_rollouts")
    return run_command(lambda: _collect(compose(argv, CollectOptions, needs_servers=False)))


def _collect(composed: Composed[CollectOptions]) -> int:
    options = composed.options
    settings = _plan_settings(options)
    tasks = _input_path(options)
    summary = _check(tasks, options, settings)
    _raise_file_limit()
    return uvloop.run(_run(composed, tasks, settings, summary))


async def _run(
    composed: Composed[CollectOptions], tasks: Path, settings: PlanSettings, summary: InputSummary
) -> int:
    options = composed.options
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(options.deadlines))
        neighbours = await find_servers(composed, http)
        names = [name or options.agent_name or "" for name in summary.rows_by_agent]
        placed = seats(neighbours.servers, dict.fromkeys(names), models_near=neighbours.whole)
        tree = plain(neighbours.tree)
        request = Request(options, tasks, summary, settings, _asked(placed, options, settings), mask_secrets(tree))
        _prepare_output(request)
        collection = Collection(request)
        stack.callback(collection.close)
        if not neighbours.running:
            started = processes(placed, neighbours.servers)
            await stack.enter_async_context(Launcher(started, neighbours.tree))
        clients = connect(placed, http, options.deadlines, tree)
        stack.push_async_callback(clients.close)
        _say_beginning(collection, neighbours)
        with _stopping_on_signals(collection):
            outcome = await collection.run(clients, _say)
        return _report(request, outcome)


def _plan_settings(options: CollectOptions) -> PlanSettings:
    return PlanSettings(
        agent_name=options.agent_name,
        repeats=options.num_repeats,
        params=options.responses_create_params,
        add_seed=options.num_repeats_add_seed,
        prompt=_prompt(options.prompt_config) if options.prompt_config else None,
    )


def _prompt(path: Path) -> dict[str, str]:
    found = find(path)
    if found is None:
        raise ConfigError(f"prompt_config: no such file: {path}")
    try:
        prompt = yaml.safe_load(found.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"prompt_config: {found} is not YAML: {error}") from None
    if (
        not isinstance(prompt, dict)
        or not isinstance(prompt.get("user"), str)
        or not all(key in {"user", "system"} and isinstance(value, str) for key, value in prompt.items())
    ):
        raise ConfigError(f"prompt_config: {found} must hold `user` and, optionally, `system`, both texts")
    return prompt


def _input_path(options: CollectOptions) -> Path:
    found = find(options.input_jsonl_fpath)
    if found is None:
        places = "\n".join(f"  {place}" for place in locations(options.input_jsonl_fpath))
        raise ConfigError(f"input_jsonl_fpath: no such file: {options.input_jsonl_fpath}; searched\n{places}")
    if found.resolve() == options.output_jsonl_fpath.resolve():
        raise ConfigError("output_jsonl_fpath is the input itself", "give the rollouts a file of their own")
    return found


def _check(tasks: Path, options: CollectOptions, settings: PlanSettings) -> InputSummary:
    if settings.prompt is None:
        summary = check_input(tasks, options.limit)
    else:
        summary = check_input(tasks, options.limit, lambda task: None if as_asked(task.row, settings) else None)
    if None in summary.rows_by_agent and options.agent_name is None:
        raise ConfigError(
            f"{summary.rows_by_agent[None]} rows of {tasks} name no agent, and no agent_name is given",
            "add +agent_name=, for instance +agent_name=simple_weather_simple_agent",
        )
    return summary


def _asked(placed: list[Seat], options: CollectOptions, settings: PlanSettings) -> dict[str, object]:
    """What decides how rollouts come out; a later run with another answer is told so."""
    servers = {
        server.name: what_decides(server.config)
        for seat in placed
        for server in (seat.agent, seat.model, seat.resources)
        if server is not None
    }
    return flatten(
        {
            "agent_name": options.agent_name,
            "responses_create_params": options.responses_create_params,
            "num_repeats_add_seed": settings.add_seed,
            "prompt": settings.prompt,
            "servers": servers,
        }
    )


def _prepare_output(request: Request) -> None:
    """Apply `overwrite` and `resume_from_cache`, the two options about what is already there."""
    files = request.files
    if files.rollouts.suffix != ".jsonl":
        raise ConfigError(
            f"output_jsonl_fpath: {files.rollouts} does not end in .jsonl",
            "the names of the other files are made from it",
        )
    if request.options.overwrite:
        for path in files.all():
            path.unlink(missing_ok=True)
    elif not request.options.resume_from_cache and files.rollouts.exists() and files.rollouts.stat().st_size:
        raise ConfigError(
            f"{files.rollouts} has rollouts already, and resume_from_cache is false",
            "leave resume_from_cache out to finish that run, or delete its files with +overwrite=true",
        )


def _raise_file_limit() -> None:
    """Each rollout in flight holds a socket; the default limit of 1,024 files would cap concurrency silently."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _stopping_on_signals(collection: Collection) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        _say("stopping: rollouts in flight may finish; press Ctrl-C again to cancel them")
        collection.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_beginning(collection: Collection, neighbours: Neighbours) -> None:
    if neighbours.running and not neighbours.whole:
        _say("no token of the running ng_run was found, so models are used through their servers")
    if collection.sink.rollouts.torn_bytes:
        _say(f"cut off a torn last line of {collection.sink.rollouts.torn_bytes} bytes; its rollout is owed again")
    if collection.done.malformed:
        _say(f"{collection.done.malformed} lines of the output are not JSON; their rollouts are owed again")
    if collection.done.rows:
        _say(f"{collection.done.rows} rollouts are there already; playing what is missing")


def _report(request: Request, outcome: Outcome) -> int:
    tally, files = outcome.tally, request.files
    rate = tally.delivered / max(outcome.elapsed_s, 1e-9)
    _say(f"{tally.delivered} rollouts in {outcome.elapsed_s:.1f} s ({rate:.1f}/s), {tally.kept} kept from before")
    for agent, metrics in outcome.key_metrics.items():
        shown = ", ".join(f"{name}={value:.4g}" for name, value in _flat(metrics).items())
        _say(f"{agent}: {shown}")
    if tally.failed:
        classes = ", ".join(f"{count} {name}" for name, count in tally.failure_classes.items())
        _say(f"{tally.failed} failed ({classes}): {files.failures}")
    _say(f"rollouts: {files.rollouts}")
    if outcome.key_metrics:
        _say(f"metrics:  {files.metrics}")
    if outcome.interrupted:
        _say("interrupted; the same command goes on where this one stopped")
        return EXIT_INTERRUPTED
    return EXIT_SOME_FAILED if tally.failed else EXIT_OK


def _flat(metrics: dict[str, object]) -> dict[str, float]:
    """The averages as the user's documents show them: `reward=0.73`, without `mean/`."""
    return {
        name.removeprefix("mean/"): value
        for name, value in metrics.items()
        if isinstance(value, int | float)
    }


if __name__ == "__main__":
    sys.exit(main())
