r"""What an author of mathematical tasks may rely on: which answers are equal, who is asked, and what ends badly."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from aiohttp import web
from fastapi.testclient import TestClient
from pydantic import ValidationError

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.errors import FailedCallError, JudgeError
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.math_with_judge.answers import is_same_text, last_boxed, without_delimiters
from resources_servers.math_with_judge.app import (
    LibraryJudgeMathResourcesServer,
    LibraryJudgeMathResourcesServerConfig,
)

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
ENDLESS = r"\boxed{9^{9^{9^{9^{9}}}}}"
SAME, OTHER = "The same. [[A=B]]", "Not the same. [[A!=B]]"


def message(text):
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def response(*output):
    return {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": list(output)}


def played(text, **fields):
    """A row whose rollout ended with `text`."""
    row = {"responses_create_params": {"input": "What is a half?"}, "response": response(message(text))}
    return row | {"question": "What is a half?", "expected_answer": r"\frac{1}{2}"} | fields


class Judge:
    """A model server on a real socket that says what it is told, and keeps what it was asked."""

    def __init__(self):
        self.words = []
        self.asked = []
        self.port = 1

    async def answer(self, request):
        self.asked.append((await request.json())["input"][-1]["content"])
        return web.json_response(response(message(self.words.pop(0))))


@pytest.fixture
async def judge():
    judge = Judge()
    app = web.Application()
    app.router.add_post("/v1/responses", judge.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    judge.port = runner.addresses[0][1]
    yield judge
    await runner.cleanup()


def environment(judge=None, kind=LibraryJudgeMathResourcesServer, **settings):
    settings = {"should_use_judge": judge is not None, "verify_pool": None} | settings
    block = {"host": "127.0.0.1", "port": 1, "entrypoint": "app.py", **settings}
    tree = {"math_with_judge": {"resources_servers": {"math_with_judge": block}}}
    if judge is not None:
        block["judge_model_server"] = {"type": "responses_api_models", "name": "judge_model"}
        tree["judge_model"] = {"responses_api_models": {"vllm_model": {**block, "port": judge.port}}}
    config = LibraryJudgeMathResourcesServerConfig(name="math_with_judge", **block)
    here = BaseServerConfig(host="127.0.0.1", port=1)
    client = ServerClient(head_server_config=here, global_config_dict=tree)
    return kind(config=config, server_client=client)


async def verdict(server, row):
    body = server.verify.__annotations__["body"].model_validate(row)
    return (await server.verify(body)).model_dump()


async def reward(text, **fields):
    found = await verdict(environment(), played(text, **fields))
    assert found["judge_evaluations"] is None
    return found["reward"]


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (r"\frac{1}{2}", r"So it is \boxed{0.5}."),
        (r"\frac{1}{2}", r"\boxed{1/2}"),
        (r"$\frac{1}{2}$", r"\boxed{\dfrac{2}{4}}"),
        (r"\boxed{12}", r"3 * 4 = \boxed{12}"),
        ("(x-2)(x-3)", r"\boxed{(x-3)(x-2)}"),
        ("6\\sqrt{2}", r"\boxed{\sqrt{72}}"),
        (r"\{1, 2\}", r"\boxed{\{2, 1\}}"),
        ("1,000", r"\boxed{1000}"),
        ("7", r"\boxed{x = 7}"),
        ("8", "3 + 5 = 8"),
        (7, r"\boxed{7}"),
    ],
)
async def test_equal_expressions_are_right_however_they_are_written(expected, text):
    assert await reward(text, expected_answer=expected) == 1.0


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (r"\frac{1}{2}", r"\boxed{0.51}"),
        ("17.001", r"\boxed{17}"),
        ("x+1", r"\boxed{x-1}"),
        ("(-\\infty, 3)", r"\boxed{(-\infty, 3]}"),
        ("5", "I do not know."),
        ("5", ""),
    ],
)
async def test_another_value_or_none_is_wrong(expected, text):
    assert await reward(text, expected_answer=expected) == 0.0


async def test_an_answer_written_as_expected_needs_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "resources_servers.math_with_judge.library", None)
    found = await verdict(environment(), played(r"\boxed{ \dfrac{1}{2} }"))

    assert (found["reward"], found["library_reward"]) == (1.0, 1.0)
    assert found["extracted_answer"] == r"\dfrac{1}{2}"


@pytest.mark.parametrize(
    ("words", "reward"), [([SAME, SAME], 1.0), ([SAME, OTHER], 0.0), ([OTHER], 0.0), (["No label."], 0.0)]
)
async def test_the_judge_decides_what_the_library_does_not_call_equal(judge, words, reward):
    calls = len(words)
    judge.words = words
    server = environment(judge)
    found = await verdict(server, played(r"\boxed{\text{one half}}"))
    await server._release()

    assert (found["reward"], found["library_reward"]) == (reward, 0.0)
    assert len(found["judge_evaluations"]) == len(judge.asked) == calls
    assert "<answer_b>\n\\text{one half}\n</answer_b>" in judge.asked[0]
    assert all("<answer_a>\n\\text{one half}\n</answer_a>" in asked for asked in judge.asked[1:])


async def test_the_judge_is_not_asked_where_nothing_is_left_to_judge(judge):
    server = environment(judge)
    for text, reward in ((r"\boxed{0.5}", 1.0), ("no answer at all", 0.0)):
        assert (await verdict(server, played(text)))["reward"] == reward

    assert judge.asked == []


class Physics(LibraryJudgeMathResourcesServer):
    """An environment that asks once, in other words."""

    JUDGE_EQUAL_LABEL = "[Correct]"
    JUDGE_NOT_EQUAL_LABEL = "[Incorrect]"
    JUDGE_PROMPT_TEMPLATE = "{question}: {first_answer} for {second_answer}?"

    async def _verify_answer_with_judge(self, question, expected_answer, generated_answer):
        equal, evaluation = await self._generate_judge_evaluation(question, generated_answer, expected_answer)
        return float(equal), [evaluation]


async def test_an_environment_built_on_this_one_asks_in_its_own_words(judge):
    judge.words = ["It is [Correct].", "[Incorrect], not [Correct]"]
    server = environment(judge, Physics)
    rewards = [(await verdict(server, played(text)))["reward"] for text in (r"\boxed{2}", r"\boxed{3}")]
    await server._release()

    assert rewards == [1.0, 0.0]
    assert judge.asked[0] == r"What is a half?: 2 for \frac{1}{2}?"


def test_expressions_are_compared_in_processes_that_can_be_killed_unless_nothing_is_configured():
    alone = environment(verify_pool={"timeout_s": 3})
    alone.setup_webserver()
    config = LibraryJudgeMathResourcesServerConfig(
        name="x", host="", port=0, entrypoint="", should_use_judge=False
    )  # as in tests of environments, which have no configuration to load one from
    bare = LibraryJudgeMathResourcesServer(config=config, server_client=alone.server_client)
    bare.setup_webserver()

    assert config.verify_pool.timeout_s == 15
    assert alone._check_pool is not None
    assert bare._check_pool is None


async def test_a_judge_that_is_down_is_never_a_reward():
    server = environment(Judge(), judge_timeout_s=0.3)
    with pytest.raises(JudgeError):
        await verdict(server, played(r"\boxed{3}"))
    await server._release()


async def test_an_expression_without_end_costs_its_row_and_the_judge_may_decide(judge):
    server = environment(judge, verify_pool={"processes": 1, "timeout_s": 1.5})
    server.config.should_use_judge = False
    server.setup_webserver()
    judge.words = [SAME, SAME]
    try:
        right = await verdict(server, played(r"\boxed{0.5}"))
        with pytest.raises(FailedCallError, match=r"longer than 1\.5 s") as failure:
            await verdict(server, played(ENDLESS))
        server.config.should_use_judge = True
        decided = await verdict(server, played(ENDLESS))
    finally:
        await server._release()

    assert (right["reward"], right["extracted_answer"]) == (1.0, "1/2")
    assert (failure.value.failure_class, failure.value.cause) == ("verify_failed", "timeout")
    assert (decided["reward"], decided["library_reward"]) == (1.0, 0.0)


async def test_the_server_itself_never_loads_the_library():
    code = "import sys, resources_servers.math_with_judge.app; sys.exit('sympy' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=Path(__file__).parents[3])

    assert await process.wait() == 0


def test_a_judge_without_a_model_is_a_mistake_of_the_configuration():
    with pytest.raises(ValidationError, match="judge_model_server is missing"):
        environment(should_use_judge=True)


def test_the_app_answers_with_the_verdict_beside_the_row():
    with TestClient(environment().setup_webserver()) as client:
        reply = client.post("/verify", json=played(r"\boxed{0.5}")).json()

    assert sorted(reply) == [
        "expected_answer", "extracted_answer", "judge_evaluations", "library_reward", "response",
        "responses_create_params", "reward",
    ]  # fmt: skip


def test_texts_are_the_same_but_for_how_they_are_set():
    assert last_boxed(r"a \boxed{1} b \boxed{\frac{1}{2}} c") == r"\frac{1}{2}"
    assert last_boxed(r"\boxed{1") is None
    assert last_boxed(r"\boxed{}") is None
    assert without_delimiters(r" \( \boxed{x} \) ") == "x"
    assert without_delimiters(r"\boxed{1} or \boxed{2}") == r"\boxed{1} or \boxed{2}"
    assert is_same_text(r"$\left( 1, 2 \right)$", "(1,2)")
    assert is_same_text(r"1{,}000", "1,000")
    assert not is_same_text("1.0", "10")
    assert not is_same_text(r"\leftarrow", r"arrow")


def test_the_metrics_tell_the_librarys_share():
    rows = [{"reward": 1.0, "library_reward": 0.0, "extracted_answer": "1", "subject": "algebra"}]
    metrics = environment().compute_metrics([rows])

    assert (metrics["pass@1/accuracy"], metrics["pass@1/symbolic_accuracy"]) == (100.0, 0.0)
    assert metrics["algebra/majority@1/accuracy"] == 100.0
    assert "pass@1/accuracy" in environment().get_key_metrics({"mean/reward": 1.0, **metrics})


async def test_every_row_of_the_data_is_solved_by_its_reference():
    server = environment()
    for row in ROWS:
        text = row.get("reference_turns", [f"\\boxed{{{row['expected_answer']}}}"])[-1]
        found = await verdict(server, row | {"response": response(message(text))})
        assert found["reward"] == 1.0, (row["question"], text, found["extracted_answer"])
    assert len({row["question"] for row in ROWS}) == len(ROWS) >= 20
