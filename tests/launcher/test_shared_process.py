"""Our own agents share one process: each answers on its own port, and they come and go together."""

import os
import signal

from .conftest import alive, get, until

AGENT = """
{name}_agent:
  responses_api_agents:
    simple_agent:
      entrypoint: app.py
      resources_server: {{type: resources_servers, name: one}}
      model_server: {{type: responses_api_models, name: policy_model}}
"""
SERVERS = """
policy_model: {responses_api_models: {vllm_model: {entrypoint: app.py, base_url: "http://127.0.0.1:9/v1", api_key: k,
               model: m, return_token_id_information: false, uses_reasoning_parser: true}}}
one: {resources_servers: {echo: {entrypoint: app.py}}}
"""


def agents(project, *names):
    project.server()
    project.config(SERVERS + "".join(AGENT.format(name=name) for name in names))


def by_name(launcher):
    return {record["process_name"]: record for record in launcher.records()}


async def test_agents_of_ours_share_a_process_and_environments_do_not(project, launch):
    agents(project, "a", "b", "c")

    async with launch() as launcher:
        records = by_name(launcher)
        names = {name: (await get(record["url"]))["name"] for name, record in records.items()}

    assert {name: name for name in records} == names
    assert len({records[name]["pid"] for name in ("a_agent", "b_agent", "c_agent")}) == 1
    assert len({record["pid"] for record in records.values()}) == 3
    assert not any(alive(record["pid"]) for record in records.values())


async def test_a_killed_process_of_agents_comes_back_with_all_of_them(project, launch):
    agents(project, "a", "b")

    async with launch() as launcher:
        first = by_name(launcher)["a_agent"]["pid"]
        os.kill(first, signal.SIGKILL)
        await until(lambda: any(line.endswith("is back") for line in launch.lines))
        records = by_name(launcher)
        assert records["b_agent"]["pid"] == records["a_agent"]["pid"] != first
        assert (await get(records["b_agent"]["url"]))["name"] == "b_agent"
    assert any("servers 'a_agent', 'b_agent' was killed by SIGKILL" in line for line in launch.lines)


async def test_an_agent_that_is_placed_far_has_a_process_of_its_own(project, launch):
    agents(project, "a", "b")
    text = (project.folder / "servers.yaml").read_text()
    project.config(
        text.replace(
            "simple_agent:\n      entrypoint: app.py",
            "simple_agent:\n      placement: far\n      entrypoint: app.py",
            1,
        )
    )

    async with launch() as launcher:
        records = by_name(launcher)

    assert records["a_agent"]["pid"] != records["b_agent"]["pid"]
