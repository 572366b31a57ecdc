"""Opens the account of a run: which models its agents ask, and what those cost."""

from collections.abc import Sequence

from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.rollouts.budget import Spent
from nemo_gym_lite.rollouts.connect import Seat, servers_of
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.prices import read_prices, refuse_unpriced


def account(options: CollectOptions, placed: Sequence[Seat]) -> Spent:
    """An empty account with the prices of the run's models.

    Raises:
        ConfigError: The prices cannot be read, or there is a budget in dollars and a model without a price.
    """
    prices = read_prices(options.prices)
    models = models_asked_for(options, servers_of(placed))
    if options.max_cost_usd is not None:
        refuse_unpriced(prices, filter(None, models.values()), options.prices)
    return Spent(prices, models)


def models_asked_for(options: CollectOptions, servers: Sequence[ServerInstance]) -> dict[str, str]:
    """The name that each agent's requests carry, by the agent's; empty if only the rows say.

    vllm_model's own name wins over the request's, openai_model's does not.
    """
    by_name = {server.name: server for server in servers}
    models = {}
    for agent in servers:
        model = by_name.get(agent.reference("model_server") or "")
        if model is not None:
            asked = options.responses_create_params.get("model")
            names = (model.config.get("model"), asked, model.config.get("openai_model"))
            models[agent.name] = str(next(filter(None, names), ""))
    return models
