"""Opens the account of a run: which models its agents ask, and what those cost."""

from collections.abc import Sequence

from nemo_gym_lite.rollouts.budget import Spent
from nemo_gym_lite.rollouts.connect import Seat
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.prices import read_prices, refuse_unpriced


def account(options: CollectOptions, placed: Sequence[Seat]) -> Spent:
    """An empty account with the prices of the run's models.

    Raises:
        ConfigError: The prices cannot be read, or there is a budget in dollars and a model without a price.
    """
    prices = read_prices(options.prices)
    models = {seat.agent.name: _model_asked_for(seat, options) for seat in placed}
    if options.max_cost_usd is not None:
        refuse_unpriced(prices, filter(None, models.values()), options.prices)
    return Spent(prices, models)


def _model_asked_for(seat: Seat, options: CollectOptions) -> str:
    """The name that requests carry: vllm_model's own wins over the request's, openai_model's does not."""
    config = seat.model.config if seat.model else {}
    names = (config.get("model"), options.responses_create_params.get("model"), config.get("openai_model"))
    return str(next(filter(None, names), ""))
