"""What checks in processes cost, and what a few bad ones cost the others: `python -m benchmarks.check_pool`.

One environment, whose check works for as long as a row says, is asked directly; engine and collector are left out.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.roots import EXTRA_ROOTS_VARIABLE
from nemo_gym_lite.config.servers import load_server_class, server_instances
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.serving.near_resources import NearResources

HAZARDS = Path(__file__).parents[1] / "tests" / "hazards"
CAUSES = {"spins": "timeout", "crashes": "crash", "allocates": "out_of_memory"}
SERVER = {"entrypoint": "app.py", "host": "127.0.0.1", "port": 1}
TEXT = [{"type": "output_text", "text": "Twice two is \\boxed{4}." * 20, "annotations": []}]
MESSAGE = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": TEXT}
RESPONSE = {
    "id": "r",
    "created_at": 1.0,
    "model": "m",
    "object": "response",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "output": [MESSAGE],
    "usage": None,
}
ROW = {"responses_create_params": {"input": "How much is twice two? " * 40}, "response": RESPONSE}


def environment(pool: Json | None) -> NearResources:
    """The environment of the tests, in this process, with or without a pool."""
    os.environ[EXTRA_ROOTS_VARIABLE] = str(HAZARDS)
    tree: Json = {"hazards": {"resources_servers": {"hazards": {**SERVER, "verify_pool": pool}}}}
    (instance,) = server_instances(tree)
    return NearResources(load_server_class(instance).from_tree(tree, "hazards"))


async def timed(resources: NearResources, hazards: dict[int, str], rows: int, in_flight: int, work_s: float) -> Json:
    """Check `rows` rows, those of `hazards` with their hazard.

    Returns:
        `took_s` of the checks without hazard, `wrong` hazards whose cause was another, `wall_s`, own `cpu_s`.
    """
    slots = asyncio.Semaphore(in_flight)
    took_s: list[float] = []
    wrong: list[str] = []

    async def check(number: int) -> None:
        hazard = hazards.get(number, "")
        async with slots:
            began = time.perf_counter()
            try:
                await resources.open("s").verify({**ROW, "hazard": hazard, "work_s": work_s})
            except FailedCallError as error:
                if error.cause != CAUSES.get(hazard):
                    wrong.append(f"{hazard or 'no hazard'}: {error}")
            else:
                took_s.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(check, range(rows)))
    return {
        "took_s": took_s,
        "wrong": wrong,
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
    }


async def measure(
    rows: int = 3000,
    share: float = 0.01,
    in_flight: int = 8,
    work_s: float = 0.002,
    processes: int = 2,
    timeout_s: float = 2.0,
) -> Json:
    """The others' verify time with bad rows over that without.

    Args:
        rows: Rows in each of the two runs.
        share: Part of the rows that spins, crashes or allocates 8 GB, a third each.
        in_flight: Rows that ask at once.
        work_s: CPU seconds of an ordinary check.
        processes: Size of the pool.
        timeout_s: Deadline of a check.
    """
    kinds = list(CAUSES)
    bad = {number: kinds[n % 3] for n, number in enumerate(range(50, rows, round(1 / share)))}
    resources = environment({"processes": processes, "memory_mb": 1024, "timeout_s": timeout_s})
    try:
        await timed(resources, {}, 200, in_flight, work_s)
        quiet = await timed(resources, {}, rows, in_flight, work_s)
        troubled = await timed(resources, bad, rows, in_flight, work_s)
        await asyncio.sleep(1.0)
        pool = resources.server._check_pool
        whole = pool is not None and len(pool.pids) == processes
    finally:
        await resources.close()
    times = [(statistics.mean(each["took_s"]), statistics.median(each["took_s"])) for each in (quiet, troubled)]
    return {
        "rows": rows,
        "bad_rows": len(bad),
        "mean_ms": [round(mean * 1e3, 3) for mean, _ in times],
        "median_ms": [round(median * 1e3, 3) for _, median in times],
        "mean_ratio": round(times[1][0] / times[0][0], 3),
        "wall_s": [round(each["wall_s"], 2) for each in (quiet, troubled)],
        "wrong": quiet["wrong"] + troubled["wrong"],
        "whole_afterwards": whole,
    }


async def overhead(rows: int = 4000, in_flight: int = 50) -> Json:
    """Microseconds for each check that costs nothing itself: in this process, and in a pool of two."""
    figures: Json = {}
    for name, pool in (("without", None), ("pool", {"processes": 2})):
        resources = environment(pool)
        try:
            await timed(resources, {}, 400, in_flight, 0.0)
            run: dict[str, Any] = await timed(resources, {}, rows, in_flight, 0.0)
        finally:
            await resources.close()
        figures[name] = {"wall_us": round(run["wall_s"] / rows * 1e6), "own_cpu_us": round(run["cpu_s"] / rows * 1e6)}
    return figures


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rows", 3000), ("in_flight", 8), ("processes", 2)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    for name, default_s in (("share", 0.01), ("work_s", 0.002), ("timeout_s", 2.0)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default_s)
    asked = vars(parser.parse_args())
    figures = {"overhead": asyncio.run(overhead()), **asyncio.run(measure(**asked))}
    print(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    return 0 if figures["mean_ratio"] <= 2.0 and not figures["wrong"] and figures["whole_afterwards"] else 1


if __name__ == "__main__":
    sys.exit(main())
