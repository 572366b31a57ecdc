"""What a run costs, and when its budget says stop."""

import pytest

from nemo_gym_lite.config.roots import INSTALL_ROOT
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.budget import Budget, Price, Spent
from nemo_gym_lite.rollouts.prices import DEFAULT_PRICES, read_prices, refuse_unpriced

PRICES = {"small": Price(1.0, 0.1, 10.0), "large": Price(100.0, 10.0, 1000.0)}.get


def row(prompt=1000, answer=100, cached=None, model="small", agent="an_agent"):
    usage = {"input_tokens": prompt, "output_tokens": answer, "total_tokens": prompt + answer}
    usage["input_tokens_details"] = {"cached_tokens": cached}
    return {"usage": usage, "response": {"model": model}, "agent_ref": {"name": agent}}


def test_prompt_cached_prompt_and_answer_each_have_their_price():
    spent = Spent(PRICES)
    spent.add(row(prompt=1_000_000, cached=400_000, answer=10_000))

    assert spent.cost_usd == pytest.approx(0.6 * 1.0 + 0.4 * 0.1 + 0.01 * 10.0)
    assert (spent.input_tokens, spent.cached_tokens, spent.output_tokens) == (1_000_000, 400_000, 10_000)
    assert spent.total_tokens == 1_010_000


def test_the_model_that_an_agent_asks_for_sets_the_price_and_the_one_that_answered_only_if_that_has_none():
    spent = Spent(PRICES, {"an_agent": "large", "another": "a_deployment"})
    spent.add(row(prompt=1_000_000, answer=0, model="small"))
    assert spent.cost_usd == 100.0

    spent.add(row(prompt=1_000_000, answer=0, model="small", agent="another"))
    assert spent.cost_usd == 101.0


def test_a_model_without_a_price_has_no_cost_and_is_named():
    spent = Spent(PRICES)
    spent.add(row(model="home_made"))

    assert spent.cost_usd is None
    assert spent.unpriced == {"home_made"}
    assert spent.total_tokens == 1100


def test_a_row_without_usage_has_used_up_nothing():
    spent = Spent(PRICES)
    for usage in (None, {}, {"input_tokens": None}, "much"):
        spent.add({"usage": usage})

    assert (spent.total_tokens, spent.cost_usd, spent.unpriced) == (0, None, set())


def test_a_budget_in_dollars_counts_what_earlier_runs_spent():
    spent = Spent(PRICES)
    spent.add(row(prompt=900_000, answer=0))
    budget = Budget(1.0, None, None, spent=spent)
    assert budget.exhausted(0.0) is None

    spent.add(row(prompt=100_000, answer=0))
    assert budget.exhausted(0.0) == "max_cost_usd: $1.00 of $1.00 are spent"


def test_a_budget_in_dollars_stops_at_the_first_rollout_that_nobody_can_price():
    spent = Spent(PRICES)
    spent.add(row(model="home_made"))
    budget = Budget(1.0, None, None, spent)

    assert "home_made has no price" in budget.exhausted(0.0)


def test_a_budget_in_tokens_counts_prompts_and_answers():
    spent = Spent()
    budget = Budget(None, 2000, None, spent)
    spent.add(row())
    assert budget.exhausted(0.0) is None

    spent.add(row())
    assert budget.exhausted(0.0) == "max_total_tokens: 2,200 of 2,000 tokens are used"


def test_a_budget_in_seconds_counts_this_run_alone():
    budget = Budget(None, None, 60.0, Spent(), now_s=1000.0)

    assert budget.exhausted(1059.9) is None
    assert budget.exhausted(1060.0) == "max_wall_s: the 60 s of this run are over"


def test_every_price_of_the_package_says_when_and_where_it_was_read():
    entries = read_prices().entries

    assert len(entries) > 20
    for name, entry in entries.items():
        assert entry.date[:2] == "20", name
        assert entry.source, name
        assert entry.price.cached_input <= entry.price.input <= entry.price.output, name


def test_a_dated_snapshot_costs_what_its_alias_does():
    prices = read_prices()

    assert prices("gpt-4.1-mini-2025-04-14") == prices("gpt-4.1-mini") == Price(0.4, 0.1, 1.6)
    assert prices("a_model_of_mine") is None


def test_a_file_of_the_user_s_is_laid_over_the_package_s_model_by_model(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("my-model: {input: 0.2, output: 0.6}\ngpt-4.1: {input: 1.5, cached_input: 0.3, output: 6}\n")
    prices = read_prices(mine)

    assert prices("my-model") == Price(0.2, 0.2, 0.6)
    assert prices("gpt-4.1") == Price(1.5, 0.3, 6.0)
    assert prices("gpt-4o") is not None


def test_a_mistake_in_a_price_is_told_with_file_model_and_field(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("my-model: {input: 0.2, ouput: 0.6}\n")

    with pytest.raises(ConfigError, match=r"(?s)mine.yaml: price of 'my-model'.*output.*ouput: there is no such key"):
        read_prices(mine)


def test_a_budget_in_dollars_is_refused_for_a_model_without_a_price():
    with pytest.raises(ConfigError, match="no price of model 'home_made'"):
        refuse_unpriced(read_prices(), ["gpt-4.1", "home_made"], DEFAULT_PRICES)


def test_the_price_list_is_where_the_documents_say():
    assert (INSTALL_ROOT / DEFAULT_PRICES).is_file()
