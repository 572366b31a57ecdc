"""A run whose agents a program reaches by a client of its own: the same files, without servers of ours."""

from typing import Any

from nemo_gym_lite.rollouts.account import account
from nemo_gym_lite.rollouts.collection import Collection, Outcome
from nemo_gym_lite.rollouts.connect import Clients
from nemo_gym_lite.rollouts.crew import LocalCrew
from nemo_gym_lite.rollouts.player import Player
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.serving.client import open_http
from nemo_gym_lite.serving.posted_agent import PostedAgent


async def run_posted(request: Request, client: Any) -> Outcome:
    """Play what a request still owes with the client's agents; it raises what `run` does."""
    options, ticker = request.options, Ticker()
    clients = Clients(agents={name: PostedAgent(client, name) for name in request.agent_names})
    crew = LocalCrew(Player(clients.agents, options.deadlines.episode_s), {}, ticker)
    collection = Collection(request, request.asked(()), {}, account(options, ()))
    try:
        async with open_http(options.deadlines) as http:
            return await collection.run(crew, clients, ticker, http)
    finally:
        collection.close()
