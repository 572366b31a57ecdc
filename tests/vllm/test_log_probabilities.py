"""Captured log probabilities are the model's own: vLLM gives the same ones for the same token ids as a prompt."""

import asyncio

import aiohttp
import pytest

from tests.collect.workspace import Workspace
from tests.vllm.engines import FLAGS, NAME, VENV, Engine
from tests.vllm.scripts import FOR_TRAINING, call, data, play, report, scripted, weather

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

TOLERANCE = 1e-3
STRICT_LEVEL = FLAGS.index("--tool-strict-level")
GAMES = "resources_servers/multi_turn_game/configs/multi_turn_game.yaml"


@pytest.fixture(scope="module")
def engine():
    """A server that holds no call to its tool's schema, so that the model says what it would."""
    engine = Engine("lenient", VENV / "logs", [*FLAGS[:STRICT_LEVEL], *FLAGS[STRICT_LEVEL + 2 :]])
    try:
        engine.start()
        engine.wait_until_ready()
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def workspace(tmp_path, engine):
    workspace = Workspace(tmp_path)
    workspace.points_to(engine.base_url, model=NAME)
    return workspace


async def test_turns_with_tool_calls_have_the_models_own_log_probabilities(workspace, engine):
    rows = data("simple_weather")[-6:]
    tasks = [*map(one_city_a_turn, rows), *(weather(row, 1.0) for row in rows)]

    rows = await play(workspace, tasks, model=FOR_TRAINING)

    assert [row["reward"] for row in rows] == [1.0] * len(tasks)
    assert all(row["token_ids_contiguous"] for row in rows)
    turns = turns_of(rows)
    assert len(turns) == sum(len(row["turns"]) for row in rows)
    for turn, own in zip(turns, await log_probs_as_prompts(engine, turns), strict=True):
        assert turn["generation_log_probs"] == pytest.approx(own, abs=TOLERANCE, rel=0)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
async def test_sampled_turns_have_the_models_own_log_probabilities(workspace, engine, temperature):
    run = await workspace.collect(
        f"+config_paths=[{FOR_TRAINING},{GAMES}]",
        "+agent_name=multi_turn_game_gymnasium_agent",
        "+input_jsonl_fpath=resources_servers/multi_turn_game/data/example.jsonl",
        "+output_jsonl_fpath=games.jsonl",
        "+limit=12",
        "+responses_create_params.max_output_tokens=32",
        f"+responses_create_params.temperature={temperature}",
        timeout_s=240,
    )

    assert run.code == 0, run.err
    rows = workspace.rows("games.jsonl")
    turns = turns_of(rows)
    assert len(turns) > 3 * len(rows)
    for turn, own in zip(turns, await log_probs_as_prompts(engine, turns), strict=True):
        assert turn["generation_log_probs"] == pytest.approx(own, abs=TOLERANCE, rel=0)


async def test_under_a_grammar_log_probabilities_are_those_of_what_it_allows(workspace, engine):
    tasks = [one_city_a_turn(row) for row in data("simple_weather")[:3]]

    rows = await play(workspace, tasks, "+responses_create_params.parallel_tool_calls=false", model=FOR_TRAINING)

    turns = turns_of(rows)
    for turn, own in zip(turns, await log_probs_as_prompts(engine, turns), strict=True):
        pairs = list(zip(turn["generation_log_probs"], own, strict=True))
        assert all(captured >= its_own - TOLERANCE for captured, its_own in pairs)
        calls = turn["type"] == "function_call"
        assert any(captured > its_own + 1 for captured, its_own in pairs) == calls


def one_city_a_turn(row):
    """An episode of as many tool calls as the task has cities, one after the other."""
    calls = (call("get_weather", city=city) for city in row["cities"])
    return scripted(row, 1.0, *calls, report(row["cities"]))


def turns_of(rows):
    return [item for row in rows for item in row["response"]["output"] if item.get("generation_token_ids")]


async def log_probs_as_prompts(engine, turns):
    """For each turn, the log probability of each token that was generated, after all tokens before it."""
    async with aiohttp.ClientSession(engine.base_url + "/") as http:
        return await asyncio.gather(*(log_probs_as_prompt(http, turn) for turn in turns))


async def log_probs_as_prompt(http, turn):
    generated = turn["generation_token_ids"]
    prompt = [*turn["prompt_token_ids"], *generated]
    body = {"model": NAME, "prompt": prompt, "prompt_logprobs": 0, "max_tokens": 1}
    async with http.post("completions", json=body) as reply:
        assert reply.status == 200, await reply.text()
        [choice] = (await reply.json())["choices"]
    positions = choice["prompt_logprobs"][-len(generated) :]
    return [position[str(token)]["logprob"] for position, token in zip(positions, generated, strict=True)]
