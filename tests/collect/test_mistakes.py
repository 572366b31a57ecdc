"""Mistakes in the input and on the command line: exit code 2, one clear message, nothing written or deleted."""

import asyncio

import pytest

from tests.collect.workspace import arguments

GOOD = '{"responses_create_params": {"input": "2+2?"}, "expected_answer": "4"}\n'

MISTAKES = {
    "a file that is not there": ({}, {"input_jsonl_fpath": "nowhere.jsonl"}, "no such file: nowhere.jsonl"),
    "an empty input": ({"tasks.jsonl": "\n"}, {}, "tasks.jsonl holds no task"),
    "a torn input line": ({"tasks.jsonl": GOOD + GOOD[:30]}, {}, "tasks.jsonl, line 2: not JSON"),
    "a line that is a list": ({"tasks.jsonl": GOOD + "[1]\n"}, {}, "line 2: a JSON object is expected, not list"),
    "no create params": ({"tasks.jsonl": '{"question": "2+2?"}\n'}, {}, "line 1: `responses_create_params` is missing"),
    "no input": ({"tasks.jsonl": '{"responses_create_params": {}}\n'}, {}, "responses_create_params.input is missing"),
    "a misspelt field in a row": (
        {"tasks.jsonl": '{"responses_create_params": {"input": "x", "temprature": 1}}\n'},
        {},
        "did you mean `temperature`",
    ),
    "a misspelt override": (
        {},
        {"responses_create_params.temprature": 0.3},
        "did you mean `temperature`",
    ),
    "a misspelt option": ({}, {"concurency": 5}, "concurrency"),
    "a concurrency of zero": ({}, {"concurrency": 0}, "num_samples_in_parallel: input should be greater than 0, got 0"),
    "a concurrency that is a word": ({}, {"concurrency": "many"}, "many"),
    "a negative limit": ({}, {"limit": -1}, "limit"),
    "repeats of zero": ({}, {"num_repeats": 0}, "num_repeats"),
    "an unknown agent": ({}, {"agent_name": "gsm9k_simple_agent"}, "no agent 'gsm9k_simple_agent'"),
    "no agent at all": ({}, {"agent_name": "null"}, "name no agent, and no agent_name is given"),
    "the input as output": ({}, {"output_jsonl_fpath": "tasks.jsonl"}, "output_jsonl_fpath is the input itself"),
    "the output's own sidecar as input": (
        {"out_failures.jsonl": GOOD},
        {"input_jsonl_fpath": "out_failures.jsonl", "output_jsonl_fpath": "out.jsonl"},
        "input_jsonl_fpath is a file that this run writes",
    ),
    "an output that is a folder": (
        {"out.jsonl/x": ""},
        {"output_jsonl_fpath": "out.jsonl"},
        "out.jsonl is a folder",
    ),
    "a sidecar that is a folder": (
        {"out_failures.jsonl/x": ""},
        {"output_jsonl_fpath": "out.jsonl"},
        "out_failures.jsonl is no regular file",
    ),
    "an output that is no jsonl": ({}, {"output_jsonl_fpath": "out.json"}, "does not end in .jsonl"),
    "a prompt file that is not there": ({}, {"prompt_config": "prompt.yaml"}, "no such file: prompt.yaml"),
    "a prompt without user": (
        {"prompt.yaml": "system: hello\n"},
        {"prompt_config": "prompt.yaml"},
        "prompt.yaml: user: field required",
    ),
    "a prompt for rows with an input": (
        {"prompt.yaml": "user: '{question}'\n"},
        {"prompt_config": "prompt.yaml"},
        "line 1: prompt_config is given",
    ),
    "a prompt with a lone brace": (
        {"prompt.yaml": "user: 'a set { of'\n", "tasks.jsonl": GOOD.replace('"input": "2+2?"', "")},
        {"prompt_config": "prompt.yaml"},
        "line 1: prompt_config does not fit this row",
    ),
    "an input that is a number": ({"tasks.jsonl": GOOD.replace('"2+2?"', "4")}, {}, "nor a list of items: 4"),
    "a row too deep to write": (
        {"tasks.jsonl": GOOD.replace('"4"', "[" * 400 + "]" * 400)},
        {},
        "tasks.jsonl, line 1: the row cannot be written as JSON again",
    ),
    "no place for a seed": (
        {"tasks.jsonl": GOOD.replace('"2+2?"', '"2+2?", "metadata": {"extra_body": "top_k=20"}')},
        {"num_repeats_add_seed": "true"},
        "line 1: num_repeats_add_seed has no place for a seed",
    ),
    "a deadline that is not known": ({}, {"deadlines.cal_s": 5}, "call_s"),
    "an API key that is not set": ({"env.yaml": "policy_base_url: http://127.0.0.1:1/v1\n"}, {}, "policy_api_key"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_named_with_a_hint_and_leaves_everything_as_it_was(workspace, mistake):
    files, options, expected = MISTAKES[mistake]
    workspace.points_to("http://127.0.0.1:1/v1")
    workspace.write("tasks.jsonl", GOOD)
    for name, text in files.items():
        workspace.write(name, text)
    before = contents(workspace.path)

    run = await workspace.collect(*arguments(**{"input_jsonl_fpath": "tasks.jsonl", **options}))

    assert run.code == 2, run.err
    assert expected in run.err
    assert run.err.startswith("error: ")
    assert "Traceback" not in run.err
    assert contents(workspace.path) == before


async def test_an_endpoint_that_is_not_there_is_named_at_once(workspace):
    workspace.points_to("http://127.0.0.1:1/v1")
    workspace.write("tasks.jsonl", GOOD)

    run = await workspace.collect(
        *arguments(input_jsonl_fpath="tasks.jsonl"),
        "++policy_model.responses_api_models.vllm_model.routing.patience_s=0.5",
    )

    assert run.code == 3
    assert "warning: http://127.0.0.1:1/v1 does not answer" in run.err


async def test_an_environment_that_does_not_import_is_blamed_in_one_line(workspace):
    workspace.points_to("http://127.0.0.1:1/v1")
    workspace.write("tasks.jsonl", GOOD)
    workspace.write("resources_servers/broken/app.py", "import a_module_that_nobody_has\n")
    workspace.write(
        "broken.yaml",
        "broken: {resources_servers: {broken: {entrypoint: app.py, domain: math, placement: near}}}\n"
        "broken_agent: {responses_api_agents: {simple_agent: {entrypoint: app.py,\n"
        "  resources_server: {type: resources_servers, name: broken},\n"
        "  model_server: {type: responses_api_models, name: policy_model}}}}\n",
    )

    run = await workspace.collect(
        "+config_paths=[responses_api_models/vllm_model/configs/vllm_model.yaml,broken.yaml]",
        "+agent_name=broken_agent",
        "+input_jsonl_fpath=tasks.jsonl",
        "+output_jsonl_fpath=results/out.jsonl",
    )

    assert run.code == 2, run.err
    assert "server 'broken' cannot be loaded: the module 'a_module_that_nobody_has' is missing" in run.err
    assert "hint: pip install a_module_that_nobody_has" in run.err
    assert "Traceback" not in run.err
    assert not (workspace.path / "results").exists()


async def test_a_second_collector_on_one_output_is_refused(workspace, engines):
    [engine] = await engines(latency={"ttft_s": 0.5})
    workspace.points_to(engine.base_url)
    words = arguments(limit=20, concurrency=2)
    first = await workspace.start("collect_rollouts", *words)
    while not engine.stats.calls:
        assert first.returncode is None
        await asyncio.sleep(0.02)

    second = await workspace.collect(*words, "+overwrite=true")
    assert second.code == 1
    assert "is being written by another collector" in second.err
    _, err = await first.communicate()
    assert first.returncode == 0, err
    assert len(workspace.rows("results/rollouts.jsonl")) == 20


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
