"""A policy that follows a script on real vLLM: its tokens, its parsers and its limits are real, rewards are known."""

import itertools

import aiohttp
import pytest

from tests.collect.workspace import VLLM
from tests.vllm.engines import CONTEXT_TOKENS, NAME
from tests.vllm.scripts import FOR_TRAINING, OPENAI, data, number, of_every_environment, play, weather

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

SETTINGS = "++policy_model.responses_api_models.vllm_model"


@pytest.mark.parametrize(
    ("model", "words", "path"),
    [
        (VLLM, [], "/v1/chat/completions"),
        (VLLM, [f"{SETTINGS}.is_responses_native=true"], "/v1/responses"),
        (OPENAI, [], "/v1/responses"),
    ],
    ids=["vllm_model", "native_responses", "openai_model"],
)
async def test_rewards_are_those_that_the_scripts_deserve(workspace, engines, model, words, path):
    tasks = of_every_environment()

    rows = await play(workspace, tasks, *words, model=model)

    assert [row["reward"] for row in rows] == [task["due"] for task in tasks]
    for row in rows:
        outputs = [item["output"] for item in row["response"]["output"] if item["type"] == "function_call_output"]
        assert len(outputs) == sum(turn.count("<tool_call>") for turn in row["turns"])
        assert not any("error" in output.lower() for output in outputs)
        assert row["usage"]["input_tokens"] > row["usage"]["output_tokens"] > 0
    turns = sum(len(task["turns"]) for task in tasks)
    assert sum(engine.completed() for engine in engines) == turns
    assert sum(engine.sessions().total() for engine in engines) == turns
    assert engines[0].paths() | engines[1].paths() == {path}


async def test_token_ids_and_log_probabilities_are_those_of_what_was_said(workspace, engines):
    tasks = [weather(row, 1.0) for row in data("simple_weather")[:10]]

    rows = await play(workspace, tasks, model=FOR_TRAINING)

    assert [row["reward"] for row in rows] == [1.0] * len(tasks)
    for row in rows:
        turns = turns_of(row)
        assert [await text_of(engines[0], turn["generation_token_ids"]) for turn in turns] == [
            f"{text}<|im_end|>" for text in row["turns"]
        ]
        assert sum(len(turn["prompt_token_ids"]) for turn in turns) == row["usage"]["input_tokens"]
        assert sum(len(turn["generation_token_ids"]) for turn in turns) == row["usage"]["output_tokens"]
        assert_prompts_go_on(turns)


async def test_a_model_that_thinks_gets_its_thoughts_back_in_the_next_turn(workspace, engines):
    thought = "<think>What was asked?</think>"
    tasks = [weather(row, 1.0, thought) for row in data("simple_weather")[:5]]

    rows = await play(workspace, tasks, f"{SETTINGS}.chat_template_kwargs={{enable_thinking:true}}", model=FOR_TRAINING)

    for row in rows:
        kinds = [item["type"] for item in row["response"]["output"]]
        calls = row["turns"][0].count("<tool_call>")
        outputs = ["function_call_output"] * calls
        assert kinds == ["reasoning", *["function_call"] * calls, *outputs, "reasoning", "message"]
        assert row["response"]["output"][0]["summary"][0]["text"] == "What was asked?"
        assert row["reward"] == 1.0
        assert_prompts_go_on(turns_of(row))


async def test_an_over_long_prompt_is_a_row_that_says_so(workspace, engines):
    short, long = data("gsm8k")[:2]
    message = {"role": "user", "content": "too long " * CONTEXT_TOKENS}
    tasks = [number(short, 1.0), {**long, "responses_create_params": {"input": [message]}}]

    fits, too_long = await play(workspace, tasks)

    assert (fits["reward"], fits["response"]["status"]) == (1.0, "completed")
    assert (too_long["reward"], too_long["response"]["status"]) == (0.0, "incomplete")
    assert too_long["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert not workspace.rows("rollouts_failures.jsonl")


def turns_of(row):
    """The items that carry their turn's token ids, which must be complete."""
    turns = [item for item in row["response"]["output"] if "generation_token_ids" in item]
    for turn in turns:
        assert turn["prompt_token_ids"]
        assert len(turn["generation_log_probs"]) == len(turn["generation_token_ids"]) > 0
        assert all(log_prob <= 0 for log_prob in turn["generation_log_probs"])
    assert len(turns) == len(row["turns"])
    return turns


def assert_prompts_go_on(turns):
    """Each prompt is the last one, what was said to it, and what came after: what training on policy needs."""
    for earlier, later in itertools.pairwise(turns):
        so_far = [*earlier["prompt_token_ids"], *earlier["generation_token_ids"]]
        assert later["prompt_token_ids"][: len(so_far)] == so_far


async def text_of(engine, token_ids):
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{engine.port}/detokenize"
        async with http.post(url, json={"model": NAME, "tokens": token_ids}) as reply:
            return (await reply.json())["prompt"]
