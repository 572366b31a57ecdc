"""Our environments played to the end by a model that follows a script: known rewards, the same near and far."""

import json

from resources_servers.simple_weather.app import weather_of
from responses_api_models.simulated_model.server import running_engine
from responses_api_models.simulated_model.settings import EngineSettings
from tests.collect.workspace import VLLM, Workspace

ENVIRONMENTS = (
    "simple_weather",
    "gsm8k",
    "mcqa",
    "session_counter",
    "structured_outputs",
    "instruction_following",
    "workspace",
    "multi_turn_game",
)
AGENTS = {"multi_turn_game": "gymnasium_agent"}


def call(name, **arguments):
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def task(environment, reward, *turns, **fields):
    """A row whose text tells the engine what to answer in each turn."""
    text = f"<script>{json.dumps(turns)}</script>"
    return {
        "responses_create_params": {"input": [{"role": "user", "content": text}]},
        "agent_ref": {
            "type": "responses_api_agents",
            "name": f"{environment}_{AGENTS.get(environment, 'simple_agent')}",
        },
        "due": reward,
        **fields,
    }


def report(city):
    weather = weather_of(city)
    return f"In {city} it is {weather.temperature_c} degrees, {weather.conditions}."


GAME = {"game": "guess_number", "setup": {"low": 1, "high": 9, "secret": 4, "max_moves": 3}}
MAIL = {"to": ["lea@tidemuseum.example"], "subject": "Tour", "body": "At ten."}
OPTIONS = [{"A": "Lima"}, {"B": "Quito"}]
SCHEMA = '{"properties": {"city": {"type": "string"}}, "type": "object"}'
SHORT = [{"kind": "words", "at_most": 5}, {"kind": "excludes_characters", "characters": "!"}]
TASKS = [
    task("simple_weather", 1.0, call("get_weather", city="Oslo"), report("Oslo"), cities=["Oslo"]),
    task("simple_weather", 0.0, call("get_weather", city="Rome"), report("Oslo"), cities=["Oslo"]),
    task("simple_weather", 0.0, call("get_weather", town="Oslo"), "Which town?", cities=["Oslo"]),
    task("gsm8k", 1.0, r"It is \boxed{1,250}.", expected_answer="1250"),
    task("gsm8k", 0.0, "It is 1250.", expected_answer="1250"),
    task("mcqa", 1.0, r"\boxed{B}", expected_answer="B", options=OPTIONS),
    task("mcqa", 0.0, r"\boxed{A}", expected_answer="B", options=OPTIONS),
    task("structured_outputs", 1.0, '{"city": "Quito"}', schema_str=SCHEMA),
    task("structured_outputs", 0.0, '{"city": 5}', schema_str=SCHEMA, schema_type="json"),
    task("instruction_following", 1.0, "All is well.", constraints=SHORT),
    task("instruction_following", 0.5, "All is well!", constraints=SHORT, grading_mode="fraction"),
    task(
        "session_counter",
        1.0,
        call("increment", by=5),
        call("increment", by=-2),
        call("get_value"),
        "It is 10.",
        initial_value=7,
        expected_value=10,
    ),
    task("session_counter", 0.0, call("increment", by=5), "It is 12.", initial_value=7, expected_value=10),
    task("session_counter", 1.0, "Nothing to do.", initial_value=3, expected_value=3),
    task("workspace", 1.0, call("send_email", **MAIL), "Sent.", reference_turns=[call("send_email", **MAIL)]),
    task("workspace", 0.0, call("delete_file", path="notes/keys.txt"), "Gone.", reference_turns=["Nothing."]),
    task("multi_turn_game", 1.0, "<move>5</move>", "four?", "<move>4</move>", **GAME),
    task("multi_turn_game", 0.0, "<move>5</move>", "<move>6</move>", "<move>7</move>", **GAME),
]


def without_chance(row):
    """A row without what differs from run to run: ids and times of the responses."""
    output = [{name: value for name, value in item.items() if name != "id"} for item in row["response"]["output"]]
    call_ids: dict[str, int] = {}
    for item in output:
        if "call_id" in item:
            item["call_id"] = call_ids.setdefault(item["call_id"], len(call_ids))
    return {**row, "response": {**row["response"], "id": "", "created_at": 0, "output": output}}


async def test_rewards_are_those_that_the_scripts_deserve_and_near_and_far_rows_are_the_same(tmp_path):
    near = await play(tmp_path / "near", "near")
    far = await play(tmp_path / "far", "far")

    assert [row["reward"] for row in near] == [task["due"] for task in TASKS]
    counters = [row for row in near if "initial_value" in row]
    assert [(row["value"], row["num_tool_calls"]) for row in counters] == [(10, 3), (12, 1), (3, 0)]
    games = [row for row in near if "game" in row]
    assert [(row["info"]["outcome"], row["terminated"]) for row in games] == [("won", True), ("lost", True)]
    assert len(games[0]["responses_create_params"]["input"]) == 2  # the task, and what reset showed
    assert list(map(without_chance, near)) == list(map(without_chance, far))


async def play(folder, placement):
    """The rows of one run, in the order of the tasks."""
    workspace = Workspace(folder)
    workspace.write("tasks.jsonl", "".join(json.dumps(row) + "\n" for row in TASKS))
    async with running_engine(EngineSettings()) as engine:
        workspace.points_to(engine.base_url)
        configs = ",".join([VLLM, *(f"resources_servers/{name}/configs/{name}.yaml" for name in ENVIRONMENTS)])
        run = await workspace.collect(
            f"+config_paths=[{configs}]",
            *(f"++{name}.resources_servers.{name}.placement={placement}" for name in ENVIRONMENTS),
            "+input_jsonl_fpath=tasks.jsonl",
            "+output_jsonl_fpath=rollouts.jsonl",
        )
    assert run.code == 0, run.err
    return sorted(workspace.rows("rollouts.jsonl"), key=lambda row: row["_ng_task_index"])
