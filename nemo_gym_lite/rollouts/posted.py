"""A run whose agents a program reaches by a client of its own: the same files, without servers of ours."""

from collections.abc import Mapping
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
    """Plays rollouts by `POST /run` of a client that knows agents by their names.

    Args:
        client: A `ServerClient`, or what quacks like one.
        name: The agent's instance.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def run(self, row: Json) -> Json:
        """Play one episode; what the client raises is the rollout's failure."""
        reply = await self._client.post(server_name=self._name, url_path="/run", json=row)
        await raise_for_status(reply)
        played: Mapping[str, Any] = await get_response_json(reply)
        return {name: value for name, value in played.items() if name != "responses_create_params"}

    async def close(self) -> None:
        """The client belongs to the program."""


async def run_posted(request: Request, client: Any) -> Outcome:
    """Play what a request still owes with a client's agents, and write metrics and manifest.

    Raises:
        ConfigError: The output was begun with other settings.
        OutputError: The output is in use, not ours, or cannot be written.
    """
    agents = {name: PostedAgent(client, name) for name in request.agent_names}
    collection = Collection(request, request.asked(()), {}, account(request.options, ()))
    ticker = Ticker()
    try:
        async with open_http(request.options.deadlines) as http:
            crew = LocalCrew(Player(agents, request.options.deadlines.episode_s), {}, ticker)
            return await collection.run(crew, Clients(agents=dict(agents)), ticker, http)
    finally:
        collection.close()
