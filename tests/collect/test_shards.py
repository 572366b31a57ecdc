"""Machines that share an input run the same command, and their outputs become one."""

from tests.collect.workspace import arguments, identities


async def test_shards_play_every_task_once_and_become_the_output_of_one_machine(workspace, engines):
    [engine] = await engines(accuracy=0.6)
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 50)
    words = arguments(input_jsonl_fpath="tasks.jsonl", num_repeats=2, concurrency=20)
    glob = "+input_glob=results/rollouts_shard_*.jsonl"

    for shard in ("1/3", "2/3", "2/3"):  # the last one has nothing left to play
        run = await workspace.collect(*words, f"+shard={shard}")
        assert run.code == 0, run.err
    early = await workspace.run("aggregate_rollouts", glob, "+output_jsonl_fpath=early.jsonl")
    one = await workspace.run("aggregate_rollouts", glob.replace("*", "2_of_3"), "+output_jsonl_fpath=one.jsonl")
    await workspace.collect(*words, "+shard=3/3")
    merged = await workspace.run("aggregate_rollouts", glob, "+output_jsonl_fpath=merged.jsonl")
    refused = await workspace.run("aggregate_rollouts", glob, "+output_jsonl_fpath=merged.jsonl")

    assert early.code == 3, early.err
    assert "incomplete: shard 3/3 is missing: results/rollouts_shard_3_of_3.jsonl" in early.err
    assert (one.code, len(workspace.rows("one.jsonl"))) == (3, 34), "what was not named is not taken in"
    assert "incomplete: shard 1/3 is missing" in one.err
    assert merged.code == 0, merged.err
    assert (refused.code, "has rollouts already" in refused.err) == (2, True)
    assert [len(workspace.rows(f"results/rollouts_shard_{n}_of_3.jsonl")) for n in (1, 2, 3)] == [34, 34, 32]
    rows = workspace.rows("merged.jsonl")
    assert [(row["_ng_task_index"], row["_ng_rollout_index"]) for row in rows] == [(n // 2, n % 2) for n in range(100)]
    assert engine.stats.calls == 100

    on = await workspace.collect(*arguments("gsm8k", "merged.jsonl", input_jsonl_fpath="tasks.jsonl", num_repeats=2))
    whole = await workspace.collect(*arguments("gsm8k", "whole.jsonl", input_jsonl_fpath="tasks.jsonl", num_repeats=2))

    assert (on.code, whole.code) == (0, 0)
    assert "100 kept from before" in on.err
    assert engine.stats.calls == 200
    assert sorted(identities(rows)) == sorted(identities(workspace.rows("whole.jsonl")))

    [ours], [theirs] = (workspace.json(f"{name}_aggregate_metrics.json") for name in ("merged", "whole"))
    assert ours["agent_metrics"].keys() == theirs["agent_metrics"].keys() >= {"mean/reward", "pass@2/accuracy"}
    assert ours["agent_metrics"]["mean/reward"] == sum(row["reward"] for row in rows) / 100
