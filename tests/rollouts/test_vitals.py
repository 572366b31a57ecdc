"""What the displays may rely on when several processes play one run."""

from collections import Counter

import orjson

from nemo_gym_lite.bottleneck.loop_time import LoopTime
from nemo_gym_lite.episode import CURRENT, Episodes, at_endpoint, at_stage
from nemo_gym_lite.rollouts.vitals import OLDEST, EpisodeSnapshot, Vitals, merged
from nemo_gym_lite.routing.call_stats import CallStats
from nemo_gym_lite.routing.snapshot import EndpointSnapshot

A = "http://127.0.0.1:8000/v1"


def vitals(state="up", age_s=1.0, in_flight=2, answered=4, latency_s=0.5):
    calls = CallStats()
    calls.add(latency_s, {"prompt_tokens": 10, "completion_tokens": 3})
    calls.add_failure("rate_limited", busy=True)
    endpoint = EndpointSnapshot(A, state, in_flight, 1, answered, 1, latency_s, "429 of it")
    oldest = [EpisodeSnapshot("task 1, rollout 0", age_s, 1, "model", A)]
    stages = Counter({"model": 2, "tool look_up": 1})
    return Vitals({"policy_model": [endpoint]}, calls, oldest, 0.1, stages, LoopTime(0.75, 0.25))


def test_vitals_survive_the_way_from_a_worker_to_the_collector():
    there = vitals()

    assert Vitals.of_json(orjson.loads(orjson.dumps(there.as_json()))) == there


def test_counts_of_workers_add_up_and_the_worst_state_is_told():
    whole = merged([vitals(latency_s=0.5), vitals("down", latency_s=1.5, answered=12)])

    [endpoint] = whole.endpoints["policy_model"]
    assert (endpoint.state, endpoint.in_flight, endpoint.answered) == ("down", 4, 16)
    assert endpoint.mean_latency_s == 1.25
    assert (whole.calls.answered, whole.calls.input_tokens) == (2, 20)
    assert (whole.stages, whole.loop) == ({"model": 4, "tool look_up": 2}, (1.5, 0.5))


def test_merging_leaves_the_parts_as_they_were():
    one, other = vitals(), vitals()
    merged([one, other])

    assert one.calls.answered == other.calls.answered == 1
    assert len(one.oldest) == 1


def test_the_oldest_of_all_workers_come_first():
    whole = merged([vitals(age_s=age_s) for age_s in (3, 90, 7, 50, 1, 2, 4)])

    assert [episode.age_s for episode in whole.oldest] == [90, 50, 7, 4, 3][:OLDEST]


def test_an_episode_notes_its_stage_and_forgets_it_when_it_ends():
    episodes = Episodes()
    first, second = episodes.begin("task 1, rollout 0", 5.0), episodes.begin("task 2, rollout 0", 6.0)
    at_stage("model")
    at_endpoint(A)

    assert str(EpisodeSnapshot.of(second, 66.0)) == f"task 2, rollout 0: model at {A}, for 60 s"
    assert [episode.label for episode in episodes.oldest(1)] == ["task 1, rollout 0"]
    episodes.end(first)
    episodes.end(second)
    assert len(episodes) == 0
    assert CURRENT.get() is None
    at_stage("nobody plays")
