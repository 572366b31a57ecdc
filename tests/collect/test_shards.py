"""Machines that share an input run the same command, and their outputs become one."""

from tests.collect.workspace import arguments, identities


async def test_shards_play_every_task_once_and_their_rows_are_those_of_one_machine(workspace, engines):
    [engine] = await engines()
    workspace.points_to(engine.base_url)
    workspace.write_tasks("tasks.jsonl", 50)
    words = arguments(input_jsonl_fpath="tasks.jsonl", num_repeats=2, concurrency=20)

    for shard in ("1/3", "2/3", "3/3", "3/3"):  # the last one has nothing left to play
        run = await workspace.collect(*words, f"+shard={shard}")
        assert run.code == 0, run.err
    whole = await workspace.collect(*arguments("gsm8k", "whole.jsonl", input_jsonl_fpath="tasks.jsonl", num_repeats=2))

    assert whole.code == 0, whole.err
    parts = [workspace.rows(f"results/rollouts_shard_{n}_of_3.jsonl") for n in (1, 2, 3)]
    assert [len(part) for part in parts] == [34, 34, 32]
    rows = [row for part in parts for row in part]
    assert sorted(identities(rows)) == sorted(identities(workspace.rows("whole.jsonl")))
    assert len({(row["_ng_task_index"], row["_ng_rollout_index"]) for row in rows}) == 100
    assert engine.stats.calls == 200
