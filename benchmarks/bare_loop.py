"""The least that any client must do: read a row, ask the engine, write the answer. The yardstick of the rest."""

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import aiohttp
import orjson
import uvloop

Json = dict[str, Any]


async def play(rows: Iterator[bytes], url: str, http: aiohttp.ClientSession, output: IO[bytes]) -> None:
    """Play rows until none is left."""
    for line in rows:
        row = orjson.loads(line)
        params = row["responses_create_params"]
        body: Json = {"model": "bench", "messages": params["input"]}
        if "tools" in params:
            body["tools"] = [{"type": "function", "function": tool} for tool in params["tools"]]
        message = await ask(body, url, http)
        if calls := message.get("tool_calls"):
            results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in calls]
            message = await ask({**body, "messages": [*body["messages"], message, *results]}, url, http)
        output.write(orjson.dumps({**row, "response": message}) + b"\n")


async def ask(body: Json, url: str, http: aiohttp.ClientSession) -> Json:
    """One call."""
    headers = {"Content-Type": "application/json"}
    async with http.post(f"{url}/chat/completions", data=orjson.dumps(body), headers=headers) as reply:
        message: Json = orjson.loads(await reply.read())["choices"][0]["message"]
    return message


async def main(url: str, tasks: Path, results: Path, limit: int, concurrency: int) -> None:
    """Play the first `limit` rows of `tasks`."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:
        with tasks.open("rb") as lines, results.open("wb") as output:
            rows = (line for _, line in zip(range(limit), lines, strict=False))
            await asyncio.gather(*(play(rows, url, http, output) for _ in range(concurrency)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("tasks", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("limit", type=int)
    parser.add_argument("concurrency", type=int)
    options = parser.parse_args()
    uvloop.run(main(options.url, options.tasks, options.results, options.limit, options.concurrency))
