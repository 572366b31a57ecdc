"""Runs one simulated engine alone: `python -m responses_api_models.simulated_model.serve --port 8000`."""

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop
from pydantic import ValidationError

from nemo_gym_lite.config.wording import complaints
from responses_api_models.simulated_model.server import SimulatedEngine
from responses_api_models.simulated_model.settings import EngineSettings

GC_THRESHOLD = 50_000
"""Requests in flight are young objects without cycles; looking at all of them every 700 costs a fifth of the CPU."""


async def serve(engine: SimulatedEngine, host: str, port: int) -> None:
    """Serve `engine` until SIGINT or SIGTERM."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await engine.start(host, port)
    sys.stdout.write(f"simulated engine ready: policy_base_url: http://{host}:{engine.port}/v1\n")
    sys.stdout.flush()
    await stopped.wait()
    await engine.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description="A seeded engine that speaks vLLM's HTTP, without a GPU.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free port and prints it")
    parser.add_argument("--model", action="append", default=[], help="name it serves; every name if not given")
    parser.add_argument("--settings", default="{}", help="JSON of further settings, see settings.py, or @FILE")
    options = parser.parse_args(argv)
    given = options.settings
    try:
        text = Path(given[1:]).read_text() if given.startswith("@") else given
        settings = EngineSettings.model_validate_json(text)
        if options.model:
            settings = settings.model_copy(update={"models": tuple(options.model)})
        engine = SimulatedEngine(settings)
    except (OSError, ValidationError) as error:
        parser.error("; ".join(complaints(error, "settings")) if isinstance(error, ValidationError) else str(error))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(engine, options.host, options.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
