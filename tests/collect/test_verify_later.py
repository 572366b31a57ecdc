"""What a user may rely on when rollouts are scored later, again, or by checks that end badly."""

import asyncio
import signal
from pathlib import Path

import orjson
import pytest

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.stored import read_stored

from .workspace import VLLM, arguments, identities

HAZARDS = "resources_servers/hazards/configs/hazards.yaml"
BLOCK = "++hazards.resources_servers.hazards"
KINDS = {"spins": "timeout", "crashes": "crash", "allocates": "out_of_memory"}


@pytest.fixture
async def user(workspace, engines):
    """A workspace whose environments are ours and the hazardous one, with an engine."""
    (engine,) = await engines()
    workspace.points_to(engine.base_url)
    workspace.environment["NEMO_GYM_EXTRA_ROOTS"] = str(Path(__file__).parents[1] / "hazards")
    return workspace


def hazardous(**more):
    _, *words = arguments("hazards", **{"input_jsonl_fpath": "tasks.jsonl", **more})
    return [f"+config_paths=[{VLLM},{HAZARDS}]", *words]


def write_hazards(user, hazards, count, **more):
    rows = (
        {"responses_create_params": {"input": f"How much is {n} plus {n}?"}, "hazard": hazards.get(n, ""), **more}
        for n in range(count)
    )
    user.write("tasks.jsonl", "".join(orjson.dumps(row).decode() + "\n" for row in rows))


def verifying(stored, output, environment="gsm8k"):
    config = HAZARDS if environment == "hazards" else f"resources_servers/{environment}/configs/{environment}.yaml"
    return [
        f"+config_paths=[{VLLM},{config}]",
        f"+input_jsonl_fpath={stored}",
        f"+output_jsonl_fpath={output}",
    ]


async def test_rollouts_stored_without_a_check_get_the_reward_that_they_would_have_had(user):
    user.write_tasks("tasks.jsonl", 40)
    asked = {"input_jsonl_fpath": "tasks.jsonl", "num_repeats": 2}
    stored = await user.collect(*arguments(output="stored.jsonl", verify="deferred", num_workers=2, **asked))
    scored = await user.run("verify_rollouts", *verifying("stored.jsonl", "scored.jsonl"))
    inline = await user.collect(*arguments(output="inline.jsonl", **asked))
    mixed = await user.collect(*arguments(output="stored.jsonl", **asked))

    assert (stored.code, scored.code, inline.code, mixed.code) == (0, 0, 0, 2), stored.err + scored.err
    assert "this scores them:\n  ng_verify_rollouts +input_jsonl_fpath=" in stored.err
    assert 'verify: "deferred" -> not set' in mixed.err
    assert len(user.rows("stored.jsonl")) == 80
    assert not any("reward" in row for row in user.rows("stored.jsonl"))
    assert sorted(identities(user.rows("scored.jsonl"))) == sorted(identities(user.rows("inline.jsonl")))
    for row in user.rows("scored.jsonl"):
        assert {"reward", "extracted_answer", "has_answer", "usage", "response"} <= row.keys()
        assert "reward_before" not in row


async def test_scoring_again_sets_old_and_new_reward_side_by_side(user):
    user.write_tasks("tasks.jsonl", 20)
    await user.collect(*arguments(output="x.jsonl", input_jsonl_fpath="tasks.jsonl"))
    rows = user.rows("x.jsonl")
    truth = dict(zip(identities(rows), (row["reward"] for row in rows), strict=True))
    for row in rows[:5]:
        row |= {"reward": 1.0 - row["reward"], "extracted_answer": "stale", "token_ids_contiguous": False}
    user.write("x.jsonl", "".join(orjson.dumps(row).decode() + "\n" for row in rows))

    ended = await user.run("verify_rollouts", *verifying("x.jsonl", "y.jsonl"))

    scored = {(row["_ng_key"], row["_ng_rollout_index"]): row for row in user.rows("y.jsonl")}
    ups = sum(row["reward"] == 0.0 for row in rows[:5])
    assert f"of 20 that had a reward, {ups} went up, {5 - ups} went down, 15 stayed" in ended.err
    assert {identity: row["reward"] for identity, row in scored.items()} == truth
    for row in rows:
        again = scored[row["_ng_key"], row["_ng_rollout_index"]]
        assert again["reward_before"] == row["reward"]
        assert again.get("token_ids_contiguous") == row.get("token_ids_contiguous")  # it was played as it was
    assert not any(row["extracted_answer"] == "stale" for row in scored.values())
    (metrics,) = user.json("y_aggregate_metrics.json")
    assert metrics["agent_metrics"]["mean/reward"] == sum(truth.values()) / 20


async def test_a_killed_or_failed_verification_finishes_its_work_and_scores_nothing_twice(user):
    write_hazards(user, {3: "crashes"}, 60, work_s=0.03)
    await user.collect(*hazardous(output="stored.jsonl", verify="deferred"))
    words = verifying("stored.jsonl", "scored.jsonl", "hazards")

    running = await user.start("verify_rollouts", *words)
    while len(user.rows("scored.jsonl")) < 10:
        await asyncio.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    await running.communicate()
    killed_at = len(user.rows("scored.jsonl"))
    tried = await user.run("verify_rollouts", *words)
    failure = user.rows("scored_failures.jsonl")[-1]
    finished = await user.run("verify_rollouts", *words, f"{BLOCK}.disarmed=true", "+accept_changes=true")

    assert killed_at < 60
    assert (tried.code, finished.code) == (3, 0), finished.err
    assert (failure["_ng_failure_class"], failure["_ng_failure_cause"]) == ("verify_failed", "crash")
    assert failure["response"]["output"]
    assert sorted(identities(user.rows("scored.jsonl"))) == sorted(identities(user.rows("stored.jsonl")))


@pytest.mark.parametrize("placement", ["near", "far"])
async def test_checks_that_end_badly_fail_by_their_cause_and_keep_what_was_played(user, placement):
    hazards = {5: "spins", 50: "crashes", 99: "allocates"}
    write_hazards(user, hazards, 120)

    ended = await user.collect(*hazardous(output="x.jsonl"), f"{BLOCK}.placement={placement}")

    assert ended.code == 3, ended.err
    assert len(user.rows("x.jsonl")) == 117
    failures = user.rows("x_failures.jsonl")
    assert {row["hazard"]: row["_ng_failure_cause"] for row in failures} == KINDS
    for row in failures:
        assert row["_ng_failure_class"] == "verify_failed"
        assert row["response"]["output"]
        assert row["usage"]["total_tokens"] > 0
        assert "reward" not in row


async def test_a_sidecars_rollouts_are_scored_once_their_check_is_mended(user):
    write_hazards(user, {2: "crashes", 4: "exits", 6: "allocates"}, 10)
    await user.collect(*hazardous(output="x.jsonl"))
    await user.collect(*hazardous(output="x.jsonl"))  # fails once more, so each has two lines
    lost = {**user.rows("x_failures.jsonl")[0], "_ng_rollout_index": 7}
    del lost["response"]
    since = user.rows("x.jsonl")[0] | {"_ng_failure_class": "timeout"}
    with (user.path / "x_failures.jsonl").open("ab") as sidecar:
        sidecar.write(orjson.dumps(lost) + b"\n" + orjson.dumps(since) + b"\n")

    words = [*verifying("x_failures.jsonl", "late.jsonl", "hazards"), f"{BLOCK}.disarmed=true"]
    ended = await user.run("verify_rollouts", *words)

    assert ended.code == 0, ended.err
    late = user.rows("late.jsonl")
    assert sorted(row["hazard"] for row in late) == ["allocates", "crashes", "exits"]
    assert all(row["reward"] == 1.0 and not any("failure" in name for name in row) for row in late)
    assert "1 lines of" in ended.err
    assert "1 rollouts of" in ended.err


async def test_an_environment_whose_check_needs_its_session_is_neither_deferred_nor_scored_again(user):
    output = "x.jsonl"
    deferred = await user.collect(*arguments("session_counter", output=output, verify="deferred"))
    await user.collect(*arguments("session_counter", output=output, limit=1))
    again = await user.run("verify_rollouts", *verifying(output, "y.jsonl", "session_counter"))

    for ended in (deferred, again):
        assert ended.code == 2
        assert "needs the session" in ended.err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"responses_create_params": {"input": "x"}}\n', "holds nothing to score: 1 lines without a `response`"),
        ('{"response": {}, "reward": 1.0}\n', "line 1: `_ng_key` or other labels of a rollout are missing"),
    ],
)
def test_a_file_without_rollouts_is_refused(tmp_path, rows, message):
    path = tmp_path / "x.jsonl"
    path.write_text(rows)

    with pytest.raises(ConfigError, match=message):
        read_stored(path)
