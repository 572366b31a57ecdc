"""What a caller meets on the engine's routes."""

import asyncio
import io
import json
import socket
import sys
from pathlib import Path

import aiohttp
import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from responses_api_models.simulated_model.server import SimulatedEngine, running_engine
from responses_api_models.simulated_model.settings import EngineSettings, Latency

CHAT = "/v1/chat/completions"
RECORDED = json.loads((Path(__file__).parent / "recorded" / "vllm_replies.json").read_text())
ERRORS = [name for name, recorded in RECORDED.items() if recorded["status"] != 200]


def chat(text: str = "hello", **more):
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture
async def tiny():
    async with running_engine(EngineSettings(models=("tiny",), max_model_len=2048)) as engine:
        yield engine


async def replay(engine: SimulatedEngine, name: str):
    recorded = RECORDED[name]
    raw = isinstance(recorded["body"], str)
    body = {"data": recorded["body"]} if raw else {"json": recorded["body"]}
    headers = {"Content-Type": "application/json"}
    url = engine.url + recorded["path"]
    async with (
        aiohttp.ClientSession() as http,
        http.request(recorded["method"], url, headers=headers, **body) as reply,
    ):
        return reply.status, await reply.json()


@pytest.mark.parametrize("name", ERRORS)
async def test_errors_have_the_status_and_the_words_of_real_vllm(tiny, name):
    status, reply = await replay(tiny, name)

    recorded = RECORDED[name]["reply"]
    assert status == RECORDED[name]["status"]
    if "error" in recorded:
        expected = recorded["error"]["message"].partition(", 'input'")[0].partition(", 'ctx'")[0]
        assert reply["error"].pop("message").startswith(expected)
        recorded["error"].pop("message")
    assert reply == recorded


@pytest.mark.parametrize("path", [CHAT, "/v1/responses"])
async def test_a_request_that_names_no_model_is_answered_by_the_one_that_is_served(tiny, path):
    body = {"messages": chat()["messages"], "input": "hello"}
    async with aiohttp.ClientSession() as http, http.post(tiny.url + path, json=body) as reply:
        assert reply.status == 200
        assert (await reply.json())["model"] == "tiny"


@pytest.mark.parametrize("name", ["chat_plain", "tools_required", "chat_return_token_ids"])
async def test_a_chat_reply_has_exactly_the_fields_of_real_vllm(tiny, name):
    _, reply = await replay(tiny, name)

    recorded = RECORDED[name]["reply"]
    ours, theirs = reply["choices"][0], recorded["choices"][0]
    assert reply.keys() == recorded.keys()
    assert ours.keys() == theirs.keys()
    assert ours["message"].keys() == theirs["message"].keys()
    assert reply["usage"].keys() == recorded["usage"].keys()
    assert (ours["token_ids"] is None) == (theirs["token_ids"] is None)
    assert (ours["logprobs"] is None) == (theirs["logprobs"] is None)
    if ours["logprobs"]:
        assert ours["logprobs"]["content"][0].keys() == theirs["logprobs"]["content"][0].keys()


async def test_the_openai_client_reads_both_dialects(post):
    tool = {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
    chat_tools = [{"type": "function", "function": tool}]
    responses_tools = [{"type": "function", "strict": True, **tool}]
    request = {"model": "any", "input": "Look", "tools": responses_tools}
    for choice in ("none", "required"):
        _, completion = await post(CHAT, chat("Look", tools=chat_tools, tool_choice=choice, logprobs=True))
        _, response = await post("/v1/responses", {**request, "tool_choice": choice})

        assert ChatCompletion.model_validate(completion).choices[0].finish_reason
        kind = {"none": "message", "required": "function_call"}[choice]
        assert Response.model_validate(response).output[0].type == kind


async def test_both_dialects_give_the_same_answer_to_the_same_conversation(post):
    request = {"temperature": 0, "model": "any"}
    _, completion = await post(CHAT, chat("Tell me", temperature=0))
    _, response = await post("/v1/responses", {**request, "input": "Tell me"})

    assert completion["choices"][0]["message"]["content"] == response["output"][0]["content"][0]["text"]
    assert completion["usage"]["total_tokens"] == response["usage"]["total_tokens"]


async def test_repeats_differ_even_when_they_are_in_flight_together(post):
    answered = await asyncio.gather(*(post(CHAT, chat("again")) for _ in range(4)))

    assert len({reply["choices"][0]["message"]["content"] for _, reply in answered}) > 1


async def test_calls_are_counted_by_session_and_by_conversation(engine, post, get):
    for text in ("one", "one", "two"):
        await post(CHAT, chat(text), headers={"X-Session-ID": f"session of {text}"})

    assert engine.stats.sessions == {"session of one": 2, "session of two": 1}
    assert (engine.stats.completed, len(engine.stats.prompts), engine.stats.repeated) == (3, 2, 1)
    counted = json.loads((await get("/simulator/stats?sessions=1"))[2])
    assert counted["sessions"] == engine.stats.sessions
    assert (counted["by_status"], counted["repeated"]) == ({"200": 3}, 1)

    await post("/simulator/reset")
    assert (engine.stats.calls, engine.stats.sessions) == (0, {})


async def test_a_conversation_is_recognised_whatever_ids_its_tool_calls_carry(engine, post):
    for number in range(2):
        call = {"id": f"call-{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        said = {"role": "assistant", "content": None, "tool_calls": [call]}
        heard = {"role": "tool", "tool_call_id": f"call-{number}", "content": "7"}
        await post(CHAT, {"model": "any", "messages": [*chat()["messages"], said, heard]})

    assert list(engine.stats.prompts.values()) == [2]


async def test_the_counts_stay_bounded():
    async with running_engine(EngineSettings(sessions_kept=2, prompts_kept=1)) as engine:
        async with aiohttp.ClientSession() as http:
            for text in ("one", "two", "three", "one"):
                async with http.post(engine.url + CHAT, json=chat(text), headers={"X-Session-ID": text}):
                    pass
        assert engine.stats.sessions == {"one": 2, "two": 1}
        assert len(engine.stats.prompts) == 1
        assert engine.stats.completed == 4


async def test_later_turns_of_a_session_count_as_prefix_hits_only_where_the_session_was_played(engine, post):
    first = chat("long ago " * 20)["messages"]
    later = [*first, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "and now?"}]

    await post(CHAT, {"model": "any", "messages": first}, headers={"X-Session-ID": "here"})
    await post(CHAT, {"model": "any", "messages": later}, headers={"X-Session-ID": "elsewhere"})
    assert engine.stats.cached_tokens == 0
    await post(CHAT, {"model": "any", "messages": later}, headers={"X-Session-ID": "here"})
    assert engine.stats.cached_tokens >= 45


async def test_an_engine_can_die_and_come_back_at_the_same_address(engine, post):
    await engine.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(CHAT, chat())

    await engine.start()
    assert (await post(CHAT, chat()))[0] == 200


async def test_a_caller_that_goes_away_is_counted_as_aborted_and_frees_its_slot():
    async with running_engine(EngineSettings(slots=1, latency=Latency(ttft_s=0.2))) as engine:
        async with aiohttp.ClientSession() as http:
            with pytest.raises(TimeoutError):
                await http.post(engine.url + CHAT, json=chat(), timeout=aiohttp.ClientTimeout(0.05))
            async with http.post(engine.url + CHAT, json=chat()) as reply:
                assert reply.status == 200
        assert (engine.stats.aborted, engine.stats.completed, engine.stats.in_flight) == (1, 1, 0)


async def test_prompts_of_many_megabytes_are_read(post):
    content = io.BytesIO(json.dumps(chat("word " * 1_000_000)).encode())
    status, reply = await post(CHAT, data=content)

    assert status == 400
    assert "maximum context length" in reply["error"]["message"]


async def test_models_health_and_liveness_answer(get):
    status, _, models = await get("/v1/models")
    card = json.loads(models)["data"][0]
    assert (status, card["id"], card["max_model_len"]) == (200, "simulated", 131_072)
    assert card.keys() == RECORDED["models"]["reply"]["data"][0].keys()
    assert (await get("/health"))[::2] == (200, b"")
    assert (await get("/"))[0] == 200


async def test_metrics_carry_the_names_that_vllm_uses(post, get):
    await post(CHAT, chat())

    _, headers, page = await get("/metrics")
    assert headers["Content-Type"].startswith("text/plain")
    lines = page.decode().splitlines()
    assert 'vllm:request_success_total{engine="0",finished_reason="stop",model_name="simulated"} 1.0' in lines
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"):
        assert f"# TYPE vllm:{name} gauge" in lines
    for name in ("num_preemptions_total", "prefix_cache_hits_total", "generation_tokens_total"):
        assert any(line.startswith(f"vllm:{name}{{") for line in lines)


async def test_slots_are_changed_over_http(engine, post):
    assert await post("/simulator/slots", {"slots": 3}) == (200, {"slots": 3})
    assert engine.scheduler.slots == 3
    assert (await post("/simulator/slots", {"slots": 0}))[0] == 400
    assert (await post("/simulator/slots", {}))[0] == 400
    await post("/simulator/slots", {"slots": None})
    assert engine.scheduler.slots is None


async def test_a_hosted_api_has_no_metrics():
    async with (
        running_engine(EngineSettings(serves_metrics=False)) as engine,
        aiohttp.ClientSession() as http,
        http.get(f"{engine.url}/metrics") as reply,
    ):
        assert reply.status == 404


async def test_tokenize_counts_as_usage_does(post):
    _, completion = await post(CHAT, chat("How many tokens?"))
    _, tokenized = await post("/tokenize", chat("How many tokens?"))

    assert tokenized["count"] == len(tokenized["tokens"]) == completion["usage"]["prompt_tokens"]


@pytest.mark.parametrize(("path", "body"), [(CHAT, chat()), ("/v1/responses", {"model": "any", "input": "hi"})])
async def test_a_client_that_streams_gets_the_whole_answer_as_events(engine, path, body):
    async with aiohttp.ClientSession() as http, http.post(engine.url + path, json={**body, "stream": True}) as reply:
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        events = (await reply.read()).decode()
    assert events.count("data: ") > 1
    assert engine.stats.completed == 1


def test_the_engine_runs_alone_as_a_command_and_stops_on_sigterm():
    async def scenario():
        command = (sys.executable, "-m", "responses_api_models.simulated_model.serve", "--port", "0")
        child = await asyncio.create_subprocess_exec(
            *command, "--model", "tiny", "--settings", '{"seed": 7}', stdout=asyncio.subprocess.PIPE
        )
        try:
            url = (await child.stdout.readline()).decode().split()[-1]
            async with aiohttp.ClientSession() as http, http.get(f"{url}/models") as reply:
                served = (await reply.json())["data"][0]["id"]
        finally:
            child.terminate()
            await child.communicate()
        return served, child.returncode

    assert asyncio.run(scenario()) == ("tiny", 0)


@pytest.mark.parametrize(
    ("settings", "named"), [('{"slotz": 7}', "slotz"), ('{"answer_keys": ["gone.jsonl"]}', "gone.jsonl")]
)
def test_a_setting_that_cannot_be_used_is_named_on_the_command_line(settings, named):
    async def scenario():
        module = "responses_api_models.simulated_model.serve"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, "--settings", settings, stderr=asyncio.subprocess.PIPE
        )
        return (await child.communicate())[1].decode(), child.returncode

    complaint, code = asyncio.run(scenario())
    assert code == 2
    assert named in complaint
    assert "Traceback" not in complaint


async def test_two_engines_do_not_share_a_port(engine):
    with pytest.raises(OSError, match="in use"):
        await SimulatedEngine().start(port=engine.port)
    with socket.create_connection(("127.0.0.1", engine.port)):
        pass
