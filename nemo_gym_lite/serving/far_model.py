"""A model behind HTTP: `POST /v1/responses` with the session's id and cookies."""

import aiohttp
import orjson
from yarl import URL

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.episode import at_endpoint
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.rollout_correlation import apply_rollout_prefix, current_rollout_id
from nemo_gym_lite.serving.client import JSON_HEADERS, post
from nemo_gym_lite.serving.cookies import CookieCrumbs
from nemo_gym_lite.serving.failures import failure_of, json_of


class FarModel:
    """Asks a served model.

    A served model tries its endpoints again by itself for as long as its retry budget lasts, so the wait here
    ends only with the episode.

    Args:
        base_url: `http://host:port` of the model server, without `/v1`.
        http: The process's session; not closed here.
        deadlines: When connecting and episodes end.
    """

    def __init__(self, base_url: str, http: aiohttp.ClientSession, deadlines: Deadlines | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._url = URL(f"{self._base_url}/v1/responses", encoded=True)
        self._http = http
        self._deadlines = deadlines or Deadlines()
        self._cookies: dict[str, CookieCrumbs] = {}

    @property
    def endpoint_count(self) -> int:
        """The served model counts as one; it does not tell what is behind it."""
        return 1

    async def respond(self, params: Json, session_id: str) -> Json:
        """Play one turn."""
        at_endpoint(self._base_url)
        cookies = self._cookies.get(session_id)
        if cookies is None:
            cookies = self._cookies[session_id] = CookieCrumbs()
        headers = {**JSON_HEADERS, "X-Session-ID": session_id}
        if crumbs := cookies.header():
            headers["Cookie"] = crumbs
        deadlines = self._deadlines
        reply = await post(
            self._http,
            self._url_of(current_rollout_id()),
            orjson.dumps(params),
            headers,
            timeout_s=deadlines.episode_s,
            connect_s=deadlines.connect_s,
        )
        cookies.keep(reply.set_cookies)
        if reply.status != 200:
            otherwise = "bad_request" if reply.status < 500 else "server_error"
            raise failure_of(reply.status, reply.body, otherwise, str(self._url))
        response = json_of(reply.body)
        if not isinstance(response.get("output"), list):
            raise FailedCallError("bad_reply", f"{self._url} answered without `output`: {reply.body[:500]!r}")
        return response

    def _url_of(self, rollout_id: str | None) -> URL:
        """Where to ask, such that the call can be captured under its rollout, if somebody named that."""
        if rollout_id is None:
            return self._url
        return URL(f"{apply_rollout_prefix(self._base_url, rollout_id)}/v1/responses", encoded=True)

    def end_session(self, session_id: str) -> None:
        """Forget a session's cookies."""
        self._cookies.pop(session_id, None)

    async def close(self) -> None:
        """Nothing is held open here."""
