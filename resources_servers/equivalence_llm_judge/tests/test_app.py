"""What an author of short answers may rely on: what the judge is shown, and what its words come to."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from fastapi.testclient import TestClient

from nemo_gym_lite.base_resources_server import BaseVerifyRequest
from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.equivalence_llm_judge.app import LLMJudgeResourcesServer, LLMJudgeResourcesServerConfig
from resources_servers.equivalence_llm_judge.verdicts import extract, first_label

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
SAME, OTHER = "They agree: [[A=B]]", "They differ: [[A!=B]]"


def message(text):
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def response(*output):
    return {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": list(output)}


def played(text, **fields):
    """A row whose rollout ended with `text`."""
    asked = [{"role": "user", "content": "Which river?"}]
    row = {
        "responses_create_params": {"input": asked},
        "response": response(message(text)),
        "expected_answer": "Danube",
    }
    return row | {"expected_answer": "Danube"} | fields


class Judge:
    """A model server on a real socket that says what it is told, and keeps what it was asked."""

    def __init__(self):
        self.words = []
        self.asked = []
        self.status = 200

    async def answer(self, request):
        body = await request.json()
        self.asked.append(body["input"][-1]["content"])
        self.params = body
        if self.status != 200:
            return web.json_response({"error": "out of order"}, status=self.status)
        return web.json_response(response(message(self.words.pop(0))))


@pytest.fixture
async def judge():
    judge = Judge()
    app = web.Application()
    app.router.add_post("/v1/responses", judge.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    judge.port = runner.addresses[0][1]
    yield judge
    await runner.cleanup()


def environment(port=1, **settings):
    ref = {"type": "responses_api_models", "name": "judge_model"}
    given = {"judge_model_server": ref, "judge_responses_create_params": {"input": [], "temperature": 0.0}} | settings
    config = LLMJudgeResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", **given)
    tree = {"judge_model": {"responses_api_models": {"any": {"host": "127.0.0.1", "port": port}}}}
    here = BaseServerConfig(host="127.0.0.1", port=1)
    client = ServerClient(head_server_config=here, global_config_dict=tree)
    return LLMJudgeResourcesServer(config=config, server_client=client)


async def verdict(judge, words, row, **settings):
    """What the environment makes of a row when the judge says `words`, call by call."""
    judge.words = list(words)
    judge.asked.clear()
    server = environment(judge.port, **settings)
    body = server.verify.__annotations__["body"].model_validate(row)
    try:
        found = await server.verify(body)
    finally:
        await server._release()
    assert judge.words == []
    return found.model_dump()


async def test_the_judge_is_shown_question_and_answers_and_its_label_is_the_reward(judge):
    found = await verdict(judge, [SAME], played("It is the Donau."))

    assert (found["reward"], found["extracted_answer"], found["judge_unclear"]) == (1.0, "It is the Donau.", False)
    for part in ("Which river?", "<answer_a>\nDanube\n</answer_a>", "<answer_b>\nIt is the Donau.\n</answer_b>"):
        assert part in judge.asked[0]
    assert judge.params["temperature"] == 0.0
    assert found["judge_evaluations"][0]["verdict_label"] == "[[A=B]]"


@pytest.mark.parametrize(
    ("said", "reward", "unclear"),
    [
        (SAME, 1.0, False),
        (OTHER, 0.0, False),
        ("[[A!=B]], though one may say [[A=B]]", 0.0, False),
        ("[[A=B]] and not [[A!=B]]", 1.0, False),
        ("I cannot tell.", 0.0, True),
    ],
)
async def test_the_first_label_counts_and_none_is_no_reward(judge, said, reward, unclear):
    found = await verdict(judge, [said], played("the Donau"))

    assert (found["reward"], found["judge_unclear"]) == (reward, unclear)


@pytest.mark.parametrize(("second", "reward"), [(SAME, 1.0), (OTHER, -1.0)])
async def test_a_second_look_with_both_in_each_others_place_must_agree(judge, second, reward):
    found = await verdict(judge, [SAME, second], played("Donau"), check_twice_swap=True, reward_if_swap_fails=-1.0)

    assert found["reward"] == reward
    assert "<answer_a>\nDonau\n</answer_a>" in judge.asked[1]
    assert "<answer_b>\nDanube\n</answer_b>" in judge.asked[1]


async def test_a_verdict_of_different_is_not_checked_twice(judge):
    assert (await verdict(judge, [OTHER], played("Rhine"), check_twice_swap=True))["reward"] == 0.0


async def test_a_rows_own_regex_finds_the_answer_and_the_whole_reply_is_a_second_chance(judge):
    row = played(
        "First I thought Rhine. ANSWER: Donau\nThat is all.", template_metadata={"output_regex": r"ANSWER: (\w+)"}
    )

    assert (await verdict(judge, [SAME], row))["extracted_answer"] == "Donau"
    assert (await verdict(judge, [OTHER, SAME], row))["reward"] == 0.5
    assert "That is all." in judge.asked[1]
    assert (await verdict(judge, [OTHER], row, check_full_generation_on_fail=False))["reward"] == 0.0
    whole = await verdict(judge, [SAME], row, use_per_record_regex=False)
    assert whole["extracted_answer"].endswith("That is all.")
    long = await verdict(judge, [SAME], row, extraction_length_threshold=3, check_twice_swap=True)
    assert long["extracted_answer"].endswith("That is all.")


async def test_labels_prompt_and_regexes_are_the_users_to_choose(judge, tmp_path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Q {question} E {expected_answer} G {generated_answer} {{CORRECT or INCORRECT}}")
    found = await verdict(
        judge,
        ["INCORRECT"],
        played("I say: Elbe."),
        judge_prompt_template_fpath=str(prompt),
        judge_equal_label="CORRECT",
        judge_not_equal_label="INCORRECT",
        judge_system_message="Be strict.",
        question_extract_regex="(Which)",
        response_extract_regex=r"say: (.*)\.",
    )

    assert found["reward"] == 0.0
    assert judge.asked == ["Q Which E Danube G Elbe {CORRECT or INCORRECT}"]
    assert judge.params["input"][0] == {"role": "system", "content": "Be strict."}


async def test_an_empty_reply_is_wrong_without_a_call(judge):
    found = await verdict(judge, [], played(""))

    assert (found["reward"], found["judge_evaluations"]) == (0.0, [])


@pytest.mark.parametrize("failure", ["status", "gone"])
async def test_a_call_that_fails_is_never_a_reward(judge, failure):
    judge.status = 502
    port = judge.port if failure == "status" else 1
    with TestClient(environment(port, judge_timeout_s=0.5).build_app()) as client:
        # the judge answers in this loop while the environment asks from another
        reply = (await asyncio.to_thread(client.post, "/verify", json=played("Donau"))).json()

    assert reply["_ng_failure_class"] == "judge_failed"
    assert "judge's call failed" in reply["_ng_failure_judge_error"]


@pytest.mark.parametrize(
    "fields", [{"expected_answer": None}, {"template_metadata": {"output_regex": "("}}, {"expected_answer": ""}]
)
def test_a_row_that_cannot_be_judged_is_an_error_of_the_data(fields):
    with TestClient(environment().setup_webserver()) as client:
        assert client.post("/verify", json=played("Donau", **fields)).status_code == 422


def test_the_expected_answer_may_stand_in_the_metadata():
    body: type[BaseVerifyRequest] = LLMJudgeResourcesServer.verify.__annotations__["body"]
    row = played("x", expected_answer=None, metadata={"expected_answer": 7})

    assert body.model_validate(row).expected_answer == "7"


def test_a_wrong_prompt_or_regex_is_told_at_the_start(tmp_path):
    (tmp_path / "p.txt").write_text("{question} {answer}")
    with pytest.raises(ConfigError, match="is no template: KeyError"):
        environment(judge_prompt_template_fpath=str(tmp_path / "p.txt"))
    with pytest.raises(ConfigError, match=r"no file nowhere\.txt"):
        environment(judge_prompt_template_fpath="nowhere.txt")
    with pytest.raises(ConfigError, match="is no regular expression"):
        environment(response_extract_regex="(")


def test_the_last_match_and_its_first_group_that_is_not_empty_count():
    assert extract("a=1 a=2", r"a=(\d)") == "2"
    assert extract("x: b", r"a(.)|x: (.)") == "b"
    assert extract(" none ", "zzz") == "none"
    assert first_label("INCORRECT", ["CORRECT", "INCORRECT"]) == "INCORRECT"


def test_the_metrics_are_pass_at_k_by_subject():
    rows = [{"reward": 1.0, "subject": "history"}, {"reward": 0.0, "subject": "history"}]
    metrics = environment().compute_metrics([rows])

    assert metrics["pass@2/accuracy"] == 100.0
    assert metrics["history/pass@1[avg-of-2]/accuracy"] == 50.0
    assert environment().get_key_metrics({"mean/reward": 0.5, **metrics})["pass@2/accuracy"] == 100.0


def test_the_data_can_be_judged():
    body = LLMJudgeResourcesServer.verify.__annotations__["body"]
    for row in ROWS:
        assert body.model_validate(row | {"response": response(message("x"))}).expected_answer
    assert len({json.dumps(row["responses_create_params"]) for row in ROWS}) == len(ROWS) >= 20
