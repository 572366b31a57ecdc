"""Every spec that enters a slot leaves as exactly one line, whatever its agent does."""

import asyncio
import math

import orjson
import pytest

from nemo_gym_lite.errors import ConfigError, FailedCallError, OutputError
from nemo_gym_lite.rollouts.collector import Collector
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.plan import PlanSettings, Task, plan
from nemo_gym_lite.rollouts.player import Player
from nemo_gym_lite.rollouts.progress import Tally
from nemo_gym_lite.rollouts.sink import Sink


class Agent:
    """Plays by a function of the row, and counts how many play at once."""

    def __init__(self, play):
        self._play = play
        self.playing = self.most = self.plays = 0

    async def run(self, row):
        self.playing += 1
        self.plays += 1
        self.most = max(self.most, self.playing)
        try:
            await asyncio.sleep(0)
            answer = self._play(row["n"])
            return await answer if asyncio.iscoroutine(answer) else answer
        finally:
            self.playing -= 1


class Run:
    def __init__(self, tmp_path, play, count=20, limit=5, episode_s=3600.0, drain_s=30.0):
        self.files = OutputFiles(tmp_path / "out.jsonl")
        self.sink = Sink(self.files)
        self.agent = Agent(play)
        self.tally = Tally(count)
        self.pulled = 0
        self.collector = Collector(
            self._specs(count),
            Player({"a": self.agent}, episode_s).play,
            self.sink,
            self.tally,
            limit=limit,
            drain_s=drain_s,
        )

    def _specs(self, count):
        rows = (Task(n, {"responses_create_params": {"input": str(n)}, "n": n}) for n in range(count))
        for spec in plan(rows, PlanSettings("a")):
            self.pulled += 1
            yield spec

    async def play(self):
        try:
            await self.collector.run()
        finally:
            self.sink.close()

    def lines(self, path):
        return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    @property
    def rollouts(self):
        return self.lines(self.files.rollouts)

    @property
    def failures(self):
        return self.lines(self.files.failures)


def scored(n):
    return {"response": {"usage": {"total_tokens": n}}, "reward": 1.0}


async def test_every_task_becomes_a_row_with_its_own_fields_and_labels(tmp_path):
    run = Run(tmp_path, scored)
    await run.play()

    rows = sorted(run.rollouts, key=lambda row: row["n"])
    assert [row["n"] for row in rows] == list(range(20))
    assert rows[3]["usage"] == {"total_tokens": 3}
    assert rows[3]["agent_ref"] == {"type": "responses_api_agents", "name": "a"}
    assert {"reward", "response", "_ng_key", "_ng_task_index", "_ng_rollout_index"} <= rows[3].keys()
    assert run.failures == []


async def test_no_more_are_in_flight_than_asked_and_a_spec_is_pulled_only_for_a_free_slot(tmp_path):
    gate = asyncio.Event()

    async def wait(n):
        await gate.wait()
        return scored(n)

    run = Run(tmp_path, wait)
    playing = asyncio.create_task(run.play())
    await asyncio.sleep(0.05)
    assert (run.pulled, run.agent.most) == (5, 5)
    gate.set()
    await playing

    assert len(run.rollouts) == 20
    assert run.agent.most == 5


@pytest.mark.parametrize(
    ("answer", "failure_class"),
    [
        (FailedCallError("rate_limited", "too many requests"), "rate_limited"),
        (ValueError("the author's bug"), "agent_failed"),
        ({"response": {}, "reward": math.nan}, "verify_failed"),
        ({"response": {}, "reward": None}, "verify_failed"),
        ({"response": {}}, "verify_failed"),
        ({"response": {}, "reward": 0.0, "_ng_failure_class": "judge_failed"}, "judge_failed"),
        ({"response": {}, "reward": 0.0, "_ng_no_persist": True}, "not_persisted"),
        ({"response": "a text", "reward": 1.0}, "agent_failed"),
        ({"response": {}, "reward": 10**400}, "agent_failed"),
        ({"response": {}, "reward": 1.0, "what_no_json_holds": object()}, "agent_failed"),
        ("no object", "agent_failed"),
        (FailedCallError("bad_reply", "half of a letter: \ud800"), "bad_reply"),
    ],
)
async def test_a_failure_never_becomes_a_reward_and_costs_only_its_own_rollout(tmp_path, answer, failure_class):
    def play(n):
        if n == 7 and isinstance(answer, Exception):
            raise answer
        return answer if n == 7 else scored(n)

    run = Run(tmp_path, play)
    await run.play()

    assert len(run.rollouts) == 19
    [failure] = run.failures
    assert failure["_ng_failure_class"] == failure_class
    assert failure["n"] == 7
    assert "reward" not in failure
    assert run.tally.failure_classes == {failure_class: 1}


async def test_rollouts_that_fail_without_waiting_leave_others_their_turn(tmp_path):
    def fail(n):
        raise FailedCallError("unreachable", "all endpoints rest")

    run = Run(tmp_path, fail, count=20_000)
    run.agent.run = lambda row: never_waits(fail, row)
    asyncio.get_running_loop().call_later(0.02, run.collector.stop)
    await run.play()

    assert 0 < len(run.failures) < 20_000


async def never_waits(play, row):
    return play(row["n"])


async def test_no_more_slots_are_made_than_rollouts_are_asked_for(tmp_path):
    run = Run(tmp_path, scored, count=3, limit=10**12)
    await run.play()

    assert len(run.rollouts) == 3


async def test_an_input_that_changes_under_the_run_ends_it_with_its_line_and_no_group_of_errors(tmp_path):
    def specs():
        yield next(run._specs(1))
        raise ConfigError("tasks.jsonl, line 2: not JSON")

    run = Run(tmp_path, scored)
    run.collector._specs = specs()
    with pytest.raises(ConfigError, match="line 2"):
        await run.play()


async def test_an_episode_that_never_ends_is_given_up_at_its_deadline(tmp_path):
    run = Run(tmp_path, lambda n: asyncio.sleep(3600) if n == 3 else scored(n), episode_s=0.05)
    await run.play()

    assert len(run.rollouts) == 19
    assert [failure["_ng_failure_class"] for failure in run.failures] == ["timeout"]


async def test_a_first_stop_lets_rollouts_in_flight_finish_and_starts_no_other(tmp_path):
    gate = asyncio.Event()

    async def wait(n):
        await gate.wait()
        return scored(n)

    run = Run(tmp_path, wait)
    playing = asyncio.create_task(run.play())
    await asyncio.sleep(0.05)
    run.collector.stop()
    gate.set()
    await playing

    assert len(run.rollouts) == 5
    assert run.collector.stopped_early


async def test_a_second_stop_cancels_and_leaves_only_whole_lines(tmp_path):
    run = Run(tmp_path, lambda n: scored(n) if n < 3 else asyncio.sleep(3600))
    playing = asyncio.create_task(run.play())
    await asyncio.sleep(0.05)
    run.collector.stop()
    run.collector.stop()
    await playing

    assert len(run.rollouts) == 3
    assert run.failures == []


async def test_rollouts_that_do_not_finish_within_the_drain_time_are_cancelled(tmp_path):
    run = Run(tmp_path, lambda n: asyncio.sleep(3600), drain_s=0.05)
    playing = asyncio.create_task(run.play())
    await asyncio.sleep(0.02)
    run.collector.stop()
    await asyncio.wait_for(playing, 5)

    assert run.rollouts == []


async def test_an_output_that_cannot_be_written_ends_the_run_with_its_error(tmp_path, monkeypatch):
    run = Run(tmp_path, scored)

    def refuse(record):
        raise OutputError("cannot write: no space left on device")

    monkeypatch.setattr(run.sink.rollouts, "write", refuse)
    with pytest.raises(OutputError, match="no space"):
        await run.play()


async def test_a_higher_limit_opens_slots_at_once_and_a_lower_one_lets_rollouts_finish(tmp_path):
    gates = [asyncio.Event() for _ in range(20)]

    async def wait(n):
        await gates[n].wait()
        return scored(n)

    run = Run(tmp_path, wait, limit=2)
    playing = asyncio.create_task(run.play())
    await asyncio.sleep(0.02)
    assert run.agent.playing == 2
    run.collector.resize(6)
    await asyncio.sleep(0.02)
    assert run.agent.playing == 6

    run.collector.resize(3)
    await asyncio.sleep(0.02)
    assert run.agent.playing == 6
    for gate in gates[:5]:
        gate.set()
    await asyncio.sleep(0.02)
    assert (run.agent.playing, run.agent.plays) == (3, 8)
    for gate in gates:
        gate.set()
    await playing

    assert len(run.rollouts) == 20
    assert run.agent.most == 6


async def test_what_a_failed_rollout_had_so_far_is_kept_in_the_sidecar(tmp_path):
    def fail(n):
        error = FailedCallError("verify_failed", "the check crashed")
        error.played = {"response": {"output": []}, "usage": {"total_tokens": 7}}
        raise error

    run = Run(tmp_path, fail, count=1)
    await run.play()

    [failure] = run.failures
    assert failure["usage"] == {"total_tokens": 7}
    assert failure["response"] == {"output": []}
    assert "reward" not in failure


async def test_a_patient_stop_waits_for_what_is_in_flight_until_a_further_one_ends_its_time(tmp_path):
    go_on = asyncio.Event()

    async def play(n):
        await (go_on.wait() if n % 2 else asyncio.Event().wait())
        return {"reward": 1.0}

    run = Run(tmp_path, play, drain_s=0.05)
    playing = asyncio.create_task(run.play())
    await asyncio.sleep(0.02)
    run.collector.stop(patiently=True)
    await asyncio.sleep(0.1)
    assert run.agent.playing == 5

    go_on.set()
    run.collector.stop()
    await asyncio.wait_for(playing, 5)

    assert len(run.rollouts) == 2
    assert run.collector.owes_more()
