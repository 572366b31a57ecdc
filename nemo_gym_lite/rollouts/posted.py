"""A run whose agents a program reaches by a client of its own: the same files, without servers of ours."""

from typing import Any

from nemo_gym_lite.clients import Json
from nemo_gym_lite.rollouts.account import account
from nemo_gym_lite.rollouts.collection import Collection, Outcome
from nemo_gym_lite.rollouts.connect import Clients
from nemo_gym_lite.rollouts.crew import LocalCrew
from nemo_gym_lite.rollouts.player import Player
from nemo_gym_lite.rollouts.request import Request
from nemo_gym_lite.rollouts.ticker import Ticker
from nemo_gym_lite.server_utils import get_response_json, raise_for_status
from nemo_gym_lite.serving.client import open_http


class PostedAgent:
    """Plays rollouts on the agent that a `ServerClient`, or what quacks like one, knows by this name."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def run(self, row: Json) -> Json:
        """Play one episode; what the client raises is the rollout's failure."""
        reply = await self._client.post(server_name=self._name, url_path="/run", json=row)
        await raise_for_status(reply)
        played: Json = await get_response_json(reply)
        played.pop("responses_create_params", None)  # the row keeps what was asked
        return played

    async def close(self) -> None:
        """The client belongs to the program."""


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
