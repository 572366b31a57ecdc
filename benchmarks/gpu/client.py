"""The least that any client of `vllm serve` must do: a process of its own that keeps N requests in flight.

It reads all tasks, asks, and counts tokens; it writes nothing but one line of JSON at its end.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

Usage = dict[str, int]
Request = tuple[str, bytes]
"""URL and body."""


def requests(tasks: Path, model: str, repeats: int, place: Callable[[], str]) -> Iterator[Request]:
    """A request for each repeat of each task, in their order."""
    for line in tasks.read_text().splitlines():
        params = json.loads(line)["responses_create_params"]
        body = {
            "model": model,
            "messages": params["input"],
            "max_tokens": params["max_output_tokens"],
            "temperature": params["temperature"],
            "ignore_eos": True,
        }
        content = json.dumps(body).encode()
        for _ in range(repeats):
            yield f"{place()}/chat/completions", content


async def ask_all(left: Iterator[Request], http: aiohttp.ClientSession, usages: list[Usage]) -> None:
    """Ask until no request is left."""
    for url, body in left:
        async with http.post(url, data=body, headers={"Content-Type": "application/json"}) as reply:
            raw = await reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{url} answered {reply.status}: {raw[:300]!r}")
        usages.append(json.loads(raw)["usage"])


async def play(left: list[Request], in_flight: int) -> dict[str, Any]:
    """Ask everything; returns what it took."""
    usages: list[Usage] = []
    queue = iter(left)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as http:
        began_s, cpu_s = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(ask_all(queue, http, usages))
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return {
        "requests": len(usages),
        "wall_s": wall_s,
        "prompt_tokens": sum(usage["prompt_tokens"] for usage in usages),
        "output_tokens": sum(usage["completion_tokens"] for usage in usages),
        "cpu_s": cpu_s,
        "ended_s": time.time(),
    }


def main() -> None:
    """Play a file of tasks and write what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("urls", help="base URLs with /v1, separated by commas; each request goes to any of them")
    parser.add_argument("model")
    parser.add_argument("in_flight", type=int)
    parser.add_argument("repeats", type=int)
    options = parser.parse_args()
    urls = options.urls.split(",")
    left = list(requests(options.tasks, options.model, options.repeats, lambda: random.choice(urls)))
    options.results.write_text(json.dumps(uvloop.run(play(left, options.in_flight))))


if __name__ == "__main__":
    main()
