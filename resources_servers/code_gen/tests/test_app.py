"""What an author of programming tasks may rely on: which code is run, within which limits, and what counts as right."""

import json
import os
import time
from pathlib import Path

import psutil
import pytest
from fastapi.testclient import TestClient

from nemo_gym_lite.config_types import BaseServerConfig
from nemo_gym_lite.errors import ConfigError, FailedCallError
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.code_gen.app import CompCodingResourcesServer, CompCodingResourcesServerConfig
from resources_servers.code_gen.grading import code_of, is_expected

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
DOUBLE = "print(2 * int(input()))"


def environment(tree=None, **settings):
    config = CompCodingResourcesServerConfig(
        host="127.0.0.1", port=1, entrypoint="app.py", name="code_gen", **({"unit_test_timeout_secs": 20.0} | settings)
    )
    here = BaseServerConfig(host="127.0.0.1", port=1)
    client = ServerClient(head_server_config=here, global_config_dict=tree or {})
    return CompCodingResourcesServer(config=config, server_client=client)


def played(code, **tests):
    """A row whose rollout ended with `code` between fences."""
    return said(f"Here:\n```python\n{code}\n```", **tests)


def said(text, *, inputs=("1\n", "2\n"), outputs=("2\n", "4\n"), fn_name=None):
    """A row whose rollout ended with `text`."""
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message]}
    tests = {"inputs": list(inputs), "outputs": list(outputs), "fn_name": fn_name}
    return {
        "responses_create_params": {"input": "Double it."},
        "response": response,
        "verifier_metadata": {"unit_tests": tests, "difficulty": "easy"},
    }


async def verdict(row, **settings):
    server = environment(**settings)
    return (await server.verify(server.verify.__annotations__["body"].model_validate(row))).model_dump()


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (DOUBLE, {}),
        ("import sys\nprint(2 * int(sys.stdin.read()))\nsys.exit()", {}),
        ("if __name__ == '__main__':\n    print(2 * int(input()), '  ')", {}),
        ("def double(n): return 2 * n", {"inputs": ["1", "2"], "outputs": ["2", "4"], "fn_name": "double"}),
        (
            "class Solution:\n    def pair(self, a, b):\n        print('noise')\n        return a, b",
            {"inputs": ['1\n"x"', "[2]\nnull"], "outputs": ['[1, "x"]', "[[2], null]"], "fn_name": "pair"},
        ),
    ],
)
async def test_code_that_passes_all_tests_is_worth_one(code, fields):
    found = await verdict(played(code, **fields))

    assert (found["reward"], found["result"], found["error"]) == (1.0, [True, True], None)
    assert found["extracted_model_code"].strip() == code
    assert found["difficulty"] == "easy"


@pytest.mark.parametrize(
    ("code", "result", "error"),
    [
        ("print(2)", [True, False], "test 1: another output is expected"),
        ("print(1 / 0)", [False, False], "test 0: ZeroDivisionError: division by zero"),
        ("print(", [False, False], "test 0: SyntaxError"),
        ("import sys; print(2); sys.exit(3)", [False, False], "test 0: it exited with code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", [False, False], "test 0: it was killed by SIGSEGV"),
        ("while True: pass", [False, False], "test 0: it took longer than 1 s"),
        ("import time; time.sleep(60)", [False, False], "test 0: it took longer than 1 s"),
        ("x = bytes(600 * 2**20)", [False, False], "test 0: MemoryError"),
        ("print('x' * 300_000)", [False, False], "test 0: it wrote more than 262144 bytes"),
        ("while True: print('x' * 100_000)", [False, False], "test 0: "),
        ("open('big', 'wb').write(bytes(20 * 2**20))", [False, False], "test 0: OSError: [Errno 27] File too large"),
    ],
)
async def test_code_that_fails_a_test_is_worth_nothing_and_says_why(code, result, error):
    settings = {"unit_test_timeout_secs": 1.0} if "longer than 1 s" in error else {}
    found = await verdict(played(code), **settings)

    assert (found["reward"], found["result"]) == (0.0, result)
    assert found["error"].startswith(error)
    assert found["fraction_passed"] == sum(result) / 2


@pytest.mark.parametrize("text", ["", "I would multiply it by two.", "```js\nconsole.log(2)\n```"])
async def test_a_reply_without_code_is_worth_nothing(text):
    found = await verdict(said(text))

    assert (found["reward"], found["result"]) == (0.0, None)
    assert "no Python code" in found["error"]


async def test_all_tests_together_have_a_limit_and_leave_nothing_behind():
    mark = f"7{time.monotonic_ns()}"
    code = f"import subprocess, time\nsubprocess.Popen(['sleep', '{mark}'])\ntime.sleep(60)"
    found = await verdict(played(code), unit_test_timeout_secs=30, timeout_s=0.7)

    assert (found["reward"], found["error"]) == (0.0, "all tests together took longer than 0.7 s")
    words = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    assert not any(mark in each for each in words)


async def test_each_test_starts_anew_and_expected_outputs_are_not_there_to_be_read():
    code = "import os\nprint(sum(b'7777' in open(f, 'rb').read() for f in os.listdir() if os.path.isfile(f)))\nx = 1"
    again = "import os\nprint(os.path.exists('mark')); open('result', 'w').close()\nseen = globals().get('seen', 0) + 1"

    assert (await verdict(played(code, inputs=["a"], outputs=["7777"])))["error"] == (
        "test 0: another output is expected"
    )
    assert (await verdict(played(again, inputs=["a", "b"], outputs=["False", "False"])))["reward"] == 1.0


async def test_a_solution_sees_none_of_the_servers_environment(monkeypatch):
    monkeypatch.setenv("policy_api_key", "sk-secret")

    assert (await verdict(played("import os\nprint('sk-secret' in str(os.environ))", outputs=["False"] * 2)))["reward"]


async def test_a_sandbox_that_cannot_be_made_is_no_wrong_answer(monkeypatch, tmp_path):
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 125\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    with pytest.raises(FailedCallError, match="Cannot connect to the Docker daemon") as failure:
        await verdict(played(DOUBLE), sandbox_provider="boxes", image="python:3", tree={"boxes": {"docker": {}}})
    assert failure.value.failure_class == "verify_failed"


def test_a_provider_that_is_not_there_is_told_at_the_start():
    with pytest.raises(ConfigError, match="there is no top-level block 'boxes'"):
        environment(sandbox_provider="boxes").setup_webserver()
    with pytest.raises(ConfigError, match="no sandbox provider 'dcoker'"):
        environment(sandbox_provider={"dcoker": {}}).setup_webserver()


@pytest.mark.parametrize("tests", [{"inputs": [], "outputs": []}, {"inputs": ["1"], "outputs": []}, {}])
def test_a_row_without_tests_is_an_error_of_the_data(tests):
    row = played(DOUBLE)
    row["verifier_metadata"]["unit_tests"] = tests
    with TestClient(environment().setup_webserver()) as client:
        assert client.post("/verify", json=row).status_code == 422


def test_the_last_python_block_is_the_code():
    assert code_of("```python\na\n```\ntext\n```py\nb\n```\n```text\nc\n```") == "b\n"
    assert code_of("```\nplain\n```") == "plain\n"
    assert code_of("```python\n```") is None
    assert code_of("```python\nnever closed") is None


@pytest.mark.parametrize(
    ("output", "expected", "is_value", "right"),
    [
        ("1 2\n3", "1  2 \n3\n\n", False, True),
        ("1 2 3", "1 2\n3", False, False),
        ("0.3333333", "0.33333331", False, True),
        ("0.34", "0.33", False, False),
        ("1000001", "1000000", False, False),
        ("1.0", "1", False, False),
        ("nan", "1.0", False, False),
        ("[1, 2.0000000001]", "[1, 2.0]", True, True),
        ("true", "1", True, False),
        ('{"a": [1]}', '{"a": [1]}', True, True),
        ("[1]", "[1, 2]", True, False),
        ("plain", "plain", True, True),
    ],
)
def test_outputs_are_compared_by_what_they_mean(output, expected, is_value, right):
    assert is_expected(output, expected, is_value=is_value) is right


def test_the_metrics_are_pass_at_k_by_difficulty():
    rows = [{"reward": 1.0, "fraction_passed": 1.0, "difficulty": "easy"}, {"reward": 0.0, "difficulty": "easy"}]
    metrics = environment().compute_metrics([rows])

    assert metrics["pass@2/accuracy"] == 100.0
    assert metrics["easy/pass@1[avg-of-2]/fraction_passed"] == 50.0
    assert "pass@2/accuracy" in environment().get_key_metrics({"mean/reward": 0.5, **metrics})


async def test_every_row_of_the_data_is_solved_by_its_reference():
    for row in ROWS:
        part = {"type": "output_text", "text": row["reference_turns"][-1], "annotations": []}
        message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message]}
        found = await verdict(row | {"response": response})
        assert found["reward"] == 1.0, (row["responses_create_params"]["input"], found["error"])
    assert len(ROWS) >= 20
