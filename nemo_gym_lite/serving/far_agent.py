"""An agent behind HTTP: `POST /run`."""

from typing import Any

import aiohttp
import orjson
from yarl import URL

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.episode import at_stage
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.serving.client import JSON_HEADERS, post
from nemo_gym_lite.serving.failures import failure_of, json_of

_HEADERS = {**JSON_HEADERS, "X-NG-Reply": "played"}


class FarAgent:
    """Plays rollouts on a served agent.

    Args:
        base_url: `http://host:port` of the agent.
        http: The process's session; not closed here.
        deadlines: When connecting and episodes end.
    """

    def __init__(self, base_url: str, http: aiohttp.ClientSession, deadlines: Deadlines | None = None) -> None:
        self._url = URL(f"{base_url.rstrip('/')}/run", encoded=True)
        self._stage = f"agent at {base_url}"
        self._http = http
        self._deadlines = deadlines or Deadlines()

    async def run(self, row: Json) -> Json:
        """Play one episode."""
        at_stage(self._stage)
        reply = await post(
            self._http,
            self._url,
            orjson.dumps(row),
            _HEADERS,
            timeout_s=self._deadlines.episode_s,
            connect_s=self._deadlines.connect_s,
        )
        if reply.status != 200:
            raise failure_of(reply.status, reply.body, "agent_failed", str(self._url))
        played = json_of(reply.body)
        if "response" not in played or "reward" not in played:
            message = f"{self._url} answered without `response` and `reward`: {reply.body[:500]!r}"
            raise FailedCallError("agent_failed", message)
        echo = played.pop("responses_create_params", None)
        return {**_longer_prompt(row, echo), **played}

    async def close(self) -> None:
        """Nothing is held open here."""


def _longer_prompt(row: Json, echo: Any) -> Json:
    """What an agent put before its model beyond the row's prompt, as an environment's first observation.

    An agent of NeMo Gym echoes the prompt with every unset field as null; of that the row keeps what was asked.
    """
    params = row["responses_create_params"]
    asked, played = params.get("input"), echo.get("input") if isinstance(echo, dict) else None
    if not isinstance(played, list) or len(played) <= (len(asked) if isinstance(asked, list) else 1):
        return {}
    return {"responses_create_params": {**params, "input": played}}
