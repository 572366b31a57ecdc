"""A command-line harness as small as can be: `-p PROMPT --mcp-config FILE`, Anthropic's dialect, tools over MCP."""

import argparse
import asyncio
import json
import os
import pathlib

import aiohttp
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-p", dest="prompt")
    parser.add_argument("--mcp-config", type=pathlib.Path)
    asked = parser.parse_args()
    [(name, server)] = json.loads(asked.mcp_config.read_text())["mcpServers"].items()
    async with (
        httpx2.AsyncClient(headers=server["headers"]) as http,
        Client(streamable_http_client(server["url"], http_client=http)) as tools,
        aiohttp.ClientSession(os.environ["ANTHROPIC_BASE_URL"]) as model,
    ):
        print(await play(model, tools, f"mcp__{name}__", asked.prompt))


async def play(model, tools, prefix, prompt):
    header, _, value = os.environ["ANTHROPIC_CUSTOM_HEADERS"].partition(": ")
    listed = (await tools.list_tools()).tools
    offered = [{"name": prefix + tool.name, "input_schema": tool.input_schema} for tool in listed]
    messages = [{"role": "user", "content": prompt}]
    while True:
        body = {"model": "any", "max_tokens": 99, "stream": True, "tools": offered, "messages": messages}
        async with model.post("/v1/messages", json=body, headers={header: value}) as reply:
            content = blocks((await reply.text()).split("\n\n"))
        calls = [block for block in content if block["type"] == "tool_use"]
        if not calls:
            return content[-1]["text"]
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call["id"],
                "content": (await tools.call_tool(call["name"].removeprefix(prefix), call["input"])).content[0].text,
            }
            for call in calls
        ]
        messages += [{"role": "assistant", "content": content}, {"role": "user", "content": results}]


def blocks(events):
    found = []
    for event in (json.loads(part.partition("data: ")[2]) for part in events if part):
        if event["type"] == "content_block_start":
            found.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            if delta["type"] == "text_delta":
                found[-1]["text"] += delta["text"]
            elif delta["type"] == "input_json_delta":
                found[-1]["input"] = json.loads(delta["partial_json"])
    return found


if __name__ == "__main__":
    asyncio.run(main())
