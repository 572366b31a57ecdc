"""What a user may spend: the engine counts, not our logs."""

import pytest

from tests.collect.workspace import arguments, identities

USD_PER_MILLION = 100.0
IN_FLIGHT = 4


@pytest.fixture
async def engine(engines, workspace):
    [engine] = await engines(latency={"ttft_s": 0.05})
    workspace.points_to(engine.base_url, model="priced")
    workspace.write("prices.yaml", f"priced: {{input: {USD_PER_MILLION}, output: {USD_PER_MILLION}}}\n")
    return engine


def tokens_at(engine):
    return engine.stats.prompt_tokens + engine.stats.generation_tokens


def words(**more):
    return arguments(input_jsonl_fpath="tasks.jsonl", concurrency=IN_FLIGHT, prices="prices.yaml", **more)


async def test_a_budget_in_dollars_is_spent_and_no_more_and_more_money_goes_on(engine, workspace):
    workspace.write_tasks("tasks.jsonl", 60)
    stopped = await workspace.collect(*words(max_cost_usd=0.1))

    largest = max(tokens for _, tokens, _ in engine.stats.arrivals.rows())
    spent_usd = tokens_at(engine) * USD_PER_MILLION / 1e6
    assert stopped.code == 4, stopped.err
    assert "stopped by max_cost_usd: $0.10 of $0.10 are spent" in stopped.err
    assert 0.1 <= spent_usd <= 0.1 + IN_FLIGHT * largest * USD_PER_MILLION / 1e6
    assert workspace.json("results/rollouts_run.json")["spent"]["cost_usd"] == pytest.approx(spent_usd)

    calls = engine.stats.calls
    again = await workspace.collect(*words(max_cost_usd=0.1))
    assert again.code == 4
    assert engine.stats.calls == calls

    finished = await workspace.collect(*words(max_cost_usd=100))
    rows = workspace.rows("results/rollouts.jsonl")
    assert finished.code == 0, finished.err
    assert len(set(identities(rows))) == len(rows) == 60
    assert engine.stats.completed == 60

    over = await workspace.collect(*words(max_cost_usd=0.1))
    assert over.code == 0, "nothing is left to play, so no budget stopped it"


async def test_a_budget_in_tokens_holds_for_all_workers_together(engine, workspace):
    workspace.write_tasks("tasks.jsonl", 60)
    stopped = await workspace.collect(*words(max_total_tokens=800, num_workers=2))

    largest = max(tokens for _, tokens, _ in engine.stats.arrivals.rows())
    assert stopped.code == 4, stopped.err
    assert 800 <= tokens_at(engine) <= 800 + IN_FLIGHT * largest


async def test_a_budget_in_seconds_ends_a_run_that_waits_for_a_slow_engine(engines, workspace):
    [slow] = await engines(latency={"ttft_s": 30.0})
    workspace.points_to(slow.base_url)
    workspace.write_tasks("tasks.jsonl", 10)
    command = arguments(input_jsonl_fpath="tasks.jsonl", concurrency=2, max_wall_s=1, drain_s=0.5)
    stopped = await workspace.collect(*command, timeout_s=25)

    assert stopped.code == 4, stopped.err
    assert "max_wall_s: the 1 s of this run are over" in stopped.err
    assert slow.stats.calls == 2


async def test_a_budget_in_dollars_for_a_model_without_a_price_is_refused_before_anything_starts(engine, workspace):
    workspace.write_tasks("tasks.jsonl", 3)
    refused = await workspace.collect(*arguments(input_jsonl_fpath="tasks.jsonl", max_cost_usd=1))

    assert refused.code == 2
    assert "no price of model 'priced'" in refused.err
    assert engine.stats.calls == 0


async def test_requests_per_minute_of_the_model_s_block_are_kept_at_the_engine(engine, workspace):
    workspace.write_tasks("tasks.jsonl", 6)
    block = "++policy_model.responses_api_models.vllm_model.requests_per_minute=120"
    finished = await workspace.collect(block, *words())

    most_requests, _ = engine.stats.arrivals.most(0.5)
    assert finished.code == 0, finished.err
    assert most_requests <= 2


async def test_an_estimate_plays_a_few_rows_and_the_run_finds_them_done(engine, workspace):
    workspace.write_tasks("tasks.jsonl", 40)
    estimate = await workspace.run("estimate_cost", *words(num_rows=10, num_repeats=3))

    assert estimate.code == 0, estimate.err
    assert "120 rollouts, projected from 10" in estimate.out
    assert "$" in next(line for line in estimate.out.splitlines() if "cost" in line)
    assert engine.stats.completed == 10

    finished = await workspace.collect(*words())
    assert finished.code == 0, finished.err
    assert engine.stats.completed == 40


async def test_an_estimate_reads_what_was_played_and_plays_nothing(engine, workspace):
    workspace.write_tasks("tasks.jsonl", 40)
    await workspace.collect(*words(limit=8))
    calls, tokens = engine.stats.calls, tokens_at(engine)
    command = [word for word in words() if "output" not in word]
    estimate = await workspace.run("estimate_cost", *command, "+rollouts_jsonl_fpath=results/rollouts.jsonl")

    assert estimate.code == 0, estimate.err
    assert engine.stats.calls == calls
    cost = next(line for line in estimate.out.splitlines() if "cost" in line)
    each, whole = (float(cell.strip(" $│")) for cell in cost.split("│")[2:4])
    assert each == pytest.approx(tokens / 8 * USD_PER_MILLION / 1e6, rel=0.01)
    assert whole == pytest.approx(40 * each, rel=0.05)
