"""`+warmup_requests`: what engines are asked before the clock starts, counted by themselves."""

import asyncio
import re
import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.rollouts import run as module
from nemo_gym_lite.rollouts.collection import Collection
from nemo_gym_lite.rollouts.families import page
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.request import make_request
from nemo_gym_lite.routing import warm_up as warming
from nemo_gym_lite.routing.warm_up import warm_up
from responses_api_models.simulated_model.settings import Faults, Latency
from tests.collect.workspace import arguments

OUTPUT = "results/rollouts.jsonl"


def asked_first(engine):
    """How often the engine was asked the same thing, which no task of these tests asks twice."""
    return max(engine.stats.prompts.values(), default=0)


class Model:
    """A model client of two endpoints that notes what it is asked, and fails where it should."""

    endpoint_count = 2

    def __init__(self, fails_at=(), hangs=False):
        self.asked, self.ended, self.at_once, self.most = [], [], 0, 0
        self._fails_at, self._hangs = fails_at, hangs

    async def respond(self, params, session_id):
        self.asked.append((params, session_id))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        number = len(self.asked)
        await asyncio.sleep(60 if self._hangs else 0.001)
        self.at_once -= 1
        if number in self._fails_at:
            raise self._fails_at[number]
        return {"output": []}

    def end_session(self, session_id):
        self.ended.append(session_id)


@pytest.mark.parametrize("workers", [1, 2])
async def test_every_endpoint_answers_its_share_and_rollouts_are_as_without(workspace, engines, workers):
    started = await engines(3, latency=Latency(ttft_s=0.1))
    workspace.points_to(*(engine.base_url for engine in started))
    workspace.write_tasks("tasks.jsonl", 6)
    words = arguments(input_jsonl_fpath="tasks.jsonl", warmup_requests=12, num_workers=workers)
    run = await workspace.collect(*words)
    again = await workspace.collect(*words)

    assert (run.code, again.code) == (0, 0), run.err
    assert [asked_first(engine) for engine in started] == [4, 4, 4]
    assert sum(engine.stats.calls for engine in started) == 12 + 6
    assert re.search(r"^warm-up: 12 requests to 3 endpoints in \d+\.\d s$", run.err, re.MULTILINE), run.err
    assert "warm-up" not in again.err
    rows, record = workspace.rows(OUTPUT), workspace.json("results/rollouts_run.json")
    assert len(rows) == record["counts"]["delivered"] + record["counts"]["kept"] == 6
    assert record["spent"]["total_tokens"] == sum(row["response"]["usage"]["total_tokens"] for row in rows)


async def test_no_figure_of_the_run_counts_the_warm_up(workspace, engines, monkeypatch):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 5)
    monkeypatch.chdir(workspace.path)
    made = []
    monkeypatch.setattr(module, "Collection", lambda *args: made.append(Collection(*args)) or made[0])
    words = arguments(input_jsonl_fpath="tasks.jsonl", warmup_requests=40)
    composed = compose(words, CollectOptions, needs_servers=False)
    await module.run(composed, make_request(composed.options))

    families = text_string_to_metric_families(page(made[0].families()).decode())
    figures = {sample.name: sample.value for family in families for sample in family.samples if sample.value}
    assert engine.stats.completed == 45
    assert figures["nemo_gym_model_request_seconds_count"] == figures["nemo_gym_endpoint_answered_total"] == 5


async def test_a_warm_up_that_fails_is_a_warning_and_the_run_goes_on():
    model = Model(fails_at={2: FailedCallError("server_error", "it is not loaded"), 3: KeyError("mine")})
    line, warning = await warm_up([model], 5, {"model": "m"})

    assert re.match(r"warm-up: 5 requests to 2 endpoints in \d+\.\d s", line)
    assert warning == "warning: 2 of them failed, for instance: it is not loaded"
    assert model.asked[0][0] == {
        "model": "m",
        "input": [{"role": "user", "content": "test"}],
        "max_output_tokens": 16,
    }


async def test_many_requests_go_in_rounds_over_all_models_and_leave_no_session():
    one, other = Model(), Model()
    [line] = await warm_up([one, other], 402, {})

    assert line.startswith("warm-up: 402 requests to 4 endpoints in ")
    assert (len(one.asked), len(other.asked), one.most) == (202, 200, 128)
    assert one.ended == [session for _, session in one.asked]


async def test_an_endpoint_that_never_answers_does_not_hold_the_run_up_for_ever(monkeypatch):
    monkeypatch.setattr(warming, "_PATIENCE_S", 0.05)
    _, warning = await warm_up([Model(hangs=True)], 3, {})

    assert warning == "warning: 3 of them failed, for instance: no answer within 0.05 s"


async def test_a_stop_in_the_warm_up_ends_the_run_before_a_rollout(workspace, engines):
    [engine] = await engines(faults=Faults(hang=1.0))
    workspace.points_to(engine.base_url)
    child = await workspace.start("collect_rollouts", *arguments(warmup_requests=2))
    async with asyncio.timeout(30):
        while engine.stats.calls < 2:
            await asyncio.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, err = await child.communicate()

    assert child.returncode == 130, err.decode()
    assert "interrupted; the same command goes on where this one stopped" in err.decode()
    assert engine.stats.calls == 2
