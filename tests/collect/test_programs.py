"""Collection from a program: rows as they come from running servers, and whole runs."""

import asyncio

import aiohttp
import orjson
import pytest

from nemo_gym_lite import global_config
from nemo_gym_lite.base_responses_api_model import CaptureStore, read_model_call_records
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.global_config import GlobalConfigDictParser, GlobalConfigDictParserConfig
from nemo_gym_lite.rollout_collection import RolloutCollectionConfig, RolloutCollectionHelper
from nemo_gym_lite.serving.client import close_http
from tests.collect.test_with_ng_run import VLLM, WEATHER, free_port, running

AGENT = "simple_weather_simple_agent"
DATA = "resources_servers/simple_weather/data/example.jsonl"


@pytest.fixture
async def program(workspace, engines, monkeypatch):
    """This process as a user's program, in the user's folder and without a configuration."""
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    monkeypatch.chdir(workspace.path)
    monkeypatch.setenv("XDG_STATE_HOME", str(workspace.path / "state"))
    monkeypatch.setattr(global_config, "_current", [])
    monkeypatch.delenv("NEMO_GYM_LITE_CONFIG_FILE", raising=False)
    monkeypatch.setattr("sys.argv", ["train.py"])
    yield workspace
    await close_http()


def options(**more):
    given = {"agent_name": AGENT, "input_jsonl_fpath": DATA, "output_jsonl_fpath": "results/rollouts.jsonl"}
    return RolloutCollectionConfig.model_validate(given | more | {"what_else_a_configuration_holds": 1})


def configure(**settings):
    """Compose this process's configuration, as a program does that starts from configuration files."""
    initial = {"config_paths": [VLLM, WEATHER], "head_server": {"port": free_port()}, **settings}
    parsed = GlobalConfigDictParserConfig(initial_global_config_dict=initial, skip_load_from_cli=True)
    global_config.set_global_config_dict(GlobalConfigDictParser().parse(parsed))


async def test_rows_are_played_on_running_servers_and_come_as_they_end(program):
    lines = find(DATA).read_bytes().splitlines()[:5]
    rows = [{**orjson.loads(line), "agent_ref": {"name": AGENT}} for line in lines]
    helper = RolloutCollectionHelper()
    async with running(program, VLLM, WEATHER) as words:
        head = HeadServerConfig(port=int(words.rpartition("=")[2]))
        played = [await future for future in helper.run_examples(rows, head, asyncio.Semaphore(2))]
        [broken] = helper.run_examples([{"agent_ref": {"name": AGENT}}], head)
        with pytest.raises(aiohttp.ClientResponseError) as refused:
            await broken

    assert {id(row) for row, _ in played} == {id(row) for row in rows}
    assert all(result["response"]["output"] and result["reward"] in {0.0, 1.0} for _, result in played)
    assert b"responses_create_params" in refused.value.response_content


async def test_model_calls_of_a_run_are_captured_by_rollout_where_that_is_asked_for(program):
    calls = program.path / "calls"
    configure(observability_enabled=True, model_call_capture_dir=str(calls))

    rows = await RolloutCollectionHelper().run_from_config(options(limit=2))

    store = CaptureStore(calls)
    for row in rows:
        records = read_model_call_records(store, f"{row['_ng_task_index']}-0")
        assert sum(record.tokens_total for record in records) == row["usage"]["total_tokens"]
        assert {record.model_ref.name for record in records} == {"policy_model"}


async def test_a_whole_run_returns_its_rows_in_the_order_of_the_tasks(program):
    configure()
    helper = RolloutCollectionHelper()

    rows = await helper.run_from_config(options(limit=4, num_repeats=2))
    again = await helper.run_from_config(options(limit=4, num_repeats=2))

    assert [(row["_ng_task_index"], row["_ng_rollout_index"]) for row in rows] == [
        (task, index) for task in range(4) for index in range(2)
    ]
    assert sorted(map(orjson.dumps, program.rows("results/rollouts.jsonl"))) == sorted(map(orjson.dumps, rows))
    assert again == rows
    owed, done, results, _ = helper._load_from_cache(options(limit=5, num_repeats=2))
    assert (len(owed), len(done), len(results)) == (2, 8, 8)


async def test_a_subclass_may_make_the_rows_and_the_metrics_itself(program):
    configure()
    seen = []

    class Half(RolloutCollectionHelper):
        def _preprocess_rows_from_config(self, config):
            return super()._preprocess_rows_from_config(config)[::2]

        async def _call_aggregate_metrics(self, results, rows, output_fpath):
            seen.append((len(results), output_fpath.name))

    rows = await Half().run_from_config(options(limit=4))

    assert len(rows) == 2
    assert seen == [(2, "rollouts.jsonl")]
    assert len(program.rows("results/rollouts_materialized_inputs.jsonl")) == 2


async def test_a_subclass_may_bring_a_client_of_its_own(program):
    class Reply:
        ok = True

        def __init__(self, body):
            self._body = orjson.dumps(body)

        async def read(self):
            return self._body

    class Client:
        async def post(self, server_name, url_path, json):
            if json["_ng_task_index"] == 1:
                raise RuntimeError("this one is lost")
            played = {**json, "response": {"output": []}, "reward": 1.0, "played_by": server_name + url_path}
            failed = {"_ng_failure_class": "remote_failed", "error": "HTTP 500", "service": "a"}
            return Reply(played | failed if json["_ng_task_index"] == 2 else played)

    class Own(RolloutCollectionHelper):
        def setup_server_client(self, head_server_config=None):
            return Client()

    rows = await Own().run_from_config(options(limit=4))

    assert [row["_ng_task_index"] for row in rows] == [0, 3]
    assert {row["played_by"] for row in rows} == {f"{AGENT}/run"}
    lost, told = sorted(program.rows("results/rollouts_failures.jsonl"), key=lambda row: row["_ng_task_index"])
    assert lost["_ng_failure_class"] == "agent_failed"
    assert (told["_ng_failure_class"], told["_ng_failure_message"]) == ("remote_failed", "HTTP 500")
    assert (told["error"], told["service"]) == ("HTTP 500", "a")
