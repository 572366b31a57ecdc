"""Tasks of our environments whose text tells the engine what to answer, so that each reward is known."""

import functools
import json
from collections.abc import Iterable, Sequence

import orjson

from nemo_gym_lite.config.roots import find
from resources_servers.simple_weather.app import weather_of
from tests.collect.workspace import VLLM, Workspace

OPENAI = "responses_api_models/openai_model/configs/openai_model.yaml"
FOR_TRAINING = "responses_api_models/vllm_model/configs/vllm_model_for_training.yaml"
ENVIRONMENTS = ("simple_weather", "gsm8k", "mcqa", "session_counter")


@functools.cache
def data(environment: str) -> list[dict]:
    """The rows that an environment comes with."""
    lines = find(f"resources_servers/{environment}/data/example.jsonl").read_bytes().splitlines()
    return [{"agent_ref": {"name": f"{environment}_simple_agent"}, **orjson.loads(line)} for line in lines]


def scripted(row: dict, due: float, *turns: str) -> dict:
    """`row` with a script in its last message; `due` is the reward that the script deserves."""
    params = row["responses_create_params"]
    *before, last = params["input"]
    text = f"{last['content']}\n<script>{json.dumps(turns)}</script>"
    return {
        **row,
        "due": due,
        "turns": turns,
        "responses_create_params": {**params, "input": [*before, {**last, "content": text}]},
    }


def call(name: str, **arguments: object) -> str:
    """What the model writes to call a tool."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def report(cities: Iterable[str]) -> str:
    """An answer that is right about the weather of `cities`."""
    found = map(weather_of, cities)
    return " ".join(f"In {each.city} it is {each.temperature_c} degrees, {each.conditions}." for each in found)


def weather(row: dict, due: float, thought: str = "") -> dict:
    """Look every city up in one turn, then report them; a wrong report is about another city."""
    cities = row["cities"]
    calls = "\n".join(call("get_weather", city=city) for city in cities)
    answer = report(cities) if due else report(["Atlantis"])
    return scripted(row, due, thought + calls, thought + answer)


def number(row: dict, due: float) -> dict:
    """Answer a question of gsm8k after some talk."""
    answer = row["expected_answer"] if due else "-12345"
    return scripted(row, due, f"{'Let us see. ' * 15}The answer is \\boxed{{{answer}}}.")


def letter(row: dict, due: float) -> dict:
    """Answer a question of mcqa."""
    wrong = next(name for option in row["options"] for name in option if name != row["expected_answer"])
    return scripted(row, due, f"It is \\boxed{{{row['expected_answer'] if due else wrong}}}.")


def counter(row: dict, due: float) -> dict:
    """Count in two turns; a wrong episode goes one too far."""
    missing = row["expected_value"] - row.get("initial_value", 0)
    return scripted(row, due, call("increment", by=missing), call("increment", by=0 if due else 1), "Done.")


SCRIPTS = dict(zip(ENVIRONMENTS, (weather, number, letter, counter), strict=True))


def of_every_environment(each: int = 8) -> list[dict]:
    """Tasks of all our environments, right and wrong ones in turn."""
    return [
        SCRIPTS[environment](row, float(index % 2 == 0))
        for environment in ENVIRONMENTS
        for index, row in enumerate(data(environment)[:each])
    ]


async def play(workspace: Workspace, tasks: Sequence[dict], *words: str, model: str = VLLM) -> list[dict]:
    """Collect all of `tasks`; the rows in the order of the tasks."""
    workspace.write("tasks.jsonl", "".join(json.dumps(task) + "\n" for task in tasks))
    environments = (f"resources_servers/{name}/configs/{name}.yaml" for name in ENVIRONMENTS)
    run = await workspace.collect(
        f"+config_paths=[{','.join([model, *environments])}]",
        "+input_jsonl_fpath=tasks.jsonl",
        "+output_jsonl_fpath=rollouts.jsonl",
        *words,
        timeout_s=240,
    )
    assert run.code == 0, run.err
    return sorted(workspace.rows("rollouts.jsonl"), key=lambda row: (row["_ng_task_index"], row["_ng_rollout_index"]))
