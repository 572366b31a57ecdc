"""An agent behind a client that a program brings: `POST /run` of a `ServerClient`, or of what quacks like one."""

from typing import Any

from nemo_gym_lite.clients import Json
from nemo_gym_lite.server_utils import get_response_json, raise_for_status


class PostedAgent:
    """Plays rollouts on the agent that the client knows by this name."""

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
