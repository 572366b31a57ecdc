"""Every collection command of the user's documents runs as written, given files of the names that they use."""

import shutil

import pytest

from nemo_gym_lite.config.roots import find
from tests.collect.workspace import identities

COMMANDS = {
    "hosted API, reduced tokens": (
        "openai_agent",
        (
            "+input_jsonl_fpath=tasks.jsonl +output_jsonl_fpath=rollouts.jsonl "
            "+responses_create_params.max_output_tokens=512"
        ),
    ),
    "local vLLM on one GPU": (
        "my_agent",
        (
            "+input_jsonl_fpath=train.jsonl +output_jsonl_fpath=rollouts.jsonl "
            "+responses_create_params.max_output_tokens=1024 +num_samples_in_parallel=20 +limit=null"
        ),
    ),
    "hosted OpenAI": (
        "openai_agent",
        (
            "+input_jsonl_fpath=tasks.jsonl +output_jsonl_fpath=rollouts.jsonl "
            "+responses_create_params.model=gpt-4o-mini +responses_create_params.temperature=0.3 "
            "+responses_create_params.max_output_tokens=512 +num_samples_in_parallel=8"
        ),
    ),
    "cost-optimized cloud API": (
        "azure_agent",
        (
            "+input_jsonl_fpath=tasks.jsonl +output_jsonl_fpath=rollouts.jsonl "
            "+responses_create_params.max_output_tokens=512 +responses_create_params.temperature=0.2 "
            "+num_samples_in_parallel=5 +limit=1000"
        ),
    ),
    "service tier": (
        "openai_agent",
        "+input_jsonl_fpath=tasks.jsonl +output_jsonl_fpath=rollouts.jsonl +responses_create_params.service_tier=scale",
    ),
    "a chunk on one machine": ("my_agent", "+input_jsonl_fpath=chunk_00.jsonl +output_jsonl_fpath=rollouts_00.jsonl"),
    "a benchmark of throughput": (
        "my_agent",
        "+input_jsonl_fpath=benchmark.jsonl +output_jsonl_fpath=rollouts.jsonl +limit=1000",
    ),
}

MODEL_OF = {
    "my_agent": "responses_api_models/vllm_model/configs/vllm_model.yaml",
    "openai_agent": "responses_api_models/openai_model/configs/openai_model.yaml",
    "azure_agent": "responses_api_models/vllm_model/configs/vllm_model.yaml",
}

AGENT = """
gsm8k: {{resources_servers: {{gsm8k: {{entrypoint: app.py, domain: math, placement: near}}}}}}
{name}:
  responses_api_agents:
    simple_agent:
      entrypoint: app.py
      resources_server: {{type: resources_servers, name: gsm8k}}
      model_server: {{type: responses_api_models, name: policy_model}}
"""


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_documented_command_gives_a_row_per_task(workspace, engines, command):
    agent, words = COMMANDS[command]
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write("agent.yaml", AGENT.format(name=agent))
    options = dict(word.removeprefix("+").split("=", 1) for word in words.split())
    shutil.copy(find("resources_servers/gsm8k/data/example.jsonl"), workspace.path / options["input_jsonl_fpath"])

    run = await workspace.collect(
        f"+config_paths=[{MODEL_OF[agent]},agent.yaml]", f"+agent_name={agent}", *words.split()
    )

    assert run.code == 0, run.err
    rows = workspace.rows(options["output_jsonl_fpath"])
    assert len(set(identities(rows))) == len(rows) == 133
    asked = {name.rpartition(".")[2]: value for name, value in options.items() if name.startswith("responses_")}
    for row in rows:
        assert {name: str(row["responses_create_params"][name]) for name in asked} == asked
        assert row["usage"]["total_tokens"] > 0
    if "model" in asked:
        assert {row["response"]["model"] for row in rows} == {"gpt-4o-mini"}
    assert engine.stats.max_in_flight <= int(options.get("num_samples_in_parallel", 133))


async def test_chunks_from_several_machines_are_merged_with_cat(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write("agent.yaml", AGENT.format(name="my_agent"))
    lines = find("resources_servers/gsm8k/data/example.jsonl").read_text().splitlines(keepends=True)
    for chunk in (0, 1):
        workspace.write(f"chunk_0{chunk}.jsonl", "".join(lines[chunk * 50 : chunk * 50 + 50]))
        run = await workspace.collect(
            f"+config_paths=[{MODEL_OF['my_agent']},agent.yaml]",
            "+agent_name=my_agent",
            f"+input_jsonl_fpath=chunk_0{chunk}.jsonl",
            f"+output_jsonl_fpath=rollouts_0{chunk}.jsonl",
        )
        assert run.code == 0, run.err
    merged = workspace.rows("rollouts_00.jsonl") + workspace.rows("rollouts_01.jsonl")

    assert len(set(identities(merged))) == len(merged) == 100

    workspace.write("final.jsonl", "".join((workspace.path / f"rollouts_0{n}.jsonl").read_text() for n in (0, 1)))
    whole = workspace.write("whole.jsonl", "".join(lines[:100]))
    run = await workspace.collect(
        f"+config_paths=[{MODEL_OF['my_agent']},agent.yaml]",
        "+agent_name=my_agent",
        f"+input_jsonl_fpath={whole.name}",
        "+output_jsonl_fpath=final.jsonl",
    )
    assert run.code == 0, run.err
    assert engine.stats.completed == 100  # nothing was left to play
    [metrics] = workspace.json("final_aggregate_metrics.json")
    assert [group["num_rollouts"] for group in metrics["group_level_metrics"]] == [1] * 100
    assert not any(name.startswith("pass@2") for name in metrics["agent_metrics"])
