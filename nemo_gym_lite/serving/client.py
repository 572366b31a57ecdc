"""The HTTP client between servers: one aiohttp session per process, connects patiently, never sends twice."""

import asyncio
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import orjson
from pydantic import BaseModel
from yarl import URL

from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import FailedCallError

JSON_HEADERS = {"Content-Type": "application/json"}
MAX_NUM_TRIES = 3

_CONNECT_PAUSE_S = 0.1
# Shorter than the idle time after which a server closes a connection (ours: 75 s), so that a request never
# meets a connection which is being closed.
_IDLE_S = 4.0
_READ_BUFFER_BYTES = 4 * 2**20


class GlobalAIOHTTPAsyncClientConfig(BaseModel):
    """Limits of the sessions that calls between servers share, as NeMo Gym's configurations name them.

    Attributes:
        global_aiohttp_connector_limit: Most connections of a process.
        global_aiohttp_connector_limit_per_host: Most connections to one server.
        global_aiohttp_client_request_debug: Log every request.
        global_aiohttp_tcp_keepalive_idle_seconds: Seconds without traffic after which a peer is probed.
        global_aiohttp_tcp_keepalive_interval_seconds: Seconds between two probes.
        global_aiohttp_tcp_keepalive_probes: Probes without an answer after which a peer counts as gone.
    """

    global_aiohttp_connector_limit: int = 100 * 1024
    global_aiohttp_connector_limit_per_host: int = 1024
    global_aiohttp_client_request_debug: bool = False
    global_aiohttp_tcp_keepalive_idle_seconds: int = 60
    global_aiohttp_tcp_keepalive_interval_seconds: int = 10
    global_aiohttp_tcp_keepalive_probes: int = 3


_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()
_chosen: list[GlobalAIOHTTPAsyncClientConfig] = []
"""What `set_global_aiohttp_client` was told last."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply."""

    status: int
    body: bytes
    set_cookies: tuple[str, ...] = ()


def open_http(
    deadlines: Deadlines | None = None, limits: GlobalAIOHTTPAsyncClientConfig | None = None
) -> aiohttp.ClientSession:
    """An aiohttp session without hidden limits: any number of connections unless told otherwise, no cookie jar."""
    deadlines = deadlines or Deadlines()
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=limits.global_aiohttp_connector_limit if limits else 0,
            limit_per_host=limits.global_aiohttp_connector_limit_per_host if limits else 0,
            keepalive_timeout=_IDLE_S,
            socket_factory=partial(_keepalive_socket, limits or GlobalAIOHTTPAsyncClientConfig()),
            ttl_dns_cache=60,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=deadlines.connect_s, sock_read=deadlines.first_byte_s),
        read_bufsize=_READ_BUFFER_BYTES,
        json_serialize=lambda value: orjson.dumps(value).decode(),
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
    )


def get_global_aiohttp_client() -> aiohttp.ClientSession:
    """The session of the running event loop, opened on first use."""
    loop = asyncio.get_running_loop()
    http = _sessions.get(loop)
    if http is None or http.closed:
        http = _sessions[loop] = open_http(limits=_chosen[0] if _chosen else None)
    return http


def choose_limits(limits: GlobalAIOHTTPAsyncClientConfig) -> None:
    """Open the process's sessions with these limits from now on."""
    _chosen[:] = [limits]


def set_global_aiohttp_client(cfg: GlobalAIOHTTPAsyncClientConfig) -> aiohttp.ClientSession:
    """Choose limits, and return the session of the running event loop, which has them if it is new."""
    choose_limits(cfg)
    return get_global_aiohttp_client()


def is_global_aiohttp_client_request_debug_enabled() -> bool:
    """Whether requests are logged."""
    return bool(_chosen) and _chosen[0].global_aiohttp_client_request_debug


async def close_http() -> None:
    """Close the session of the running event loop, if there is one."""
    if http := _sessions.pop(asyncio.get_running_loop(), None):
        await http.close()


async def post(
    http: aiohttp.ClientSession,
    url: URL,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    connect_s: float,
) -> Reply:
    """POST `body` and read the whole reply, which must be there after `timeout_s`.

    Refused connections are tried again for `connect_s`; nothing has been sent then.

    Raises:
        FailedCallError: `unreachable`, `reset` or `timeout`.
    """
    timeout = _timeout(timeout_s, connect_s)
    return await _whole_reply(http, "POST", url, connect_s, data=body, headers=headers, timeout=timeout)


async def get(http: aiohttp.ClientSession, url: URL, *, timeout_s: float) -> Reply:
    """GET `url` and read the whole reply, within `timeout_s` seconds.

    Raises:
        FailedCallError: `unreachable`, `reset` or `timeout`.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    return await _whole_reply(http, "GET", url, timeout_s, timeout=timeout)


@lru_cache(maxsize=64)
def _timeout(total_s: float, connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=connect_s)


async def _whole_reply(http: aiohttp.ClientSession, method: str, url: URL, connect_s: float, **kwargs: Any) -> Reply:
    try:
        response = await send(http, method, url, connect_s, **kwargs)
        body = await response.read()
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise FailedCallError("unreachable", f"cannot connect to {url}: {error}") from error
    except TimeoutError as error:
        raise FailedCallError("timeout", f"{url} did not answer within {kwargs['timeout'].total:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise FailedCallError("reset", f"connection to {url} broke: {error!r}") from error
    return Reply(response.status, body, tuple(response.headers.getall("Set-Cookie", ())))


async def send(
    http: aiohttp.ClientSession, method: str, url: URL | str, connect_s: float, **kwargs: Any
) -> aiohttp.ClientResponse:
    """Send a request; while the server refuses connections, try again for `connect_s` seconds.

    A server that `ng_run` restarts is away for a moment. Once a byte has left, nothing is sent again.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + connect_s
    while True:
        try:
            return await http.request(method, url, **kwargs)
        except aiohttp.ClientConnectorError:
            if loop.time() + _CONNECT_PAUSE_S >= give_up_at:
                raise
        await asyncio.sleep(_CONNECT_PAUSE_S)


async def request(method: str, url: str, _internal: bool = False, **kwargs: Any) -> aiohttp.ClientResponse:
    """Send a request with the process's session; a truthy `json=` may be a pydantic model."""
    body = kwargs.pop("json", None)
    if body is not None:
        kwargs["data"] = _encoded(body)
        kwargs["headers"] = {**JSON_HEADERS, **(kwargs.get("headers") or {})}
    if cookies := kwargs.pop("cookies", None):
        pairs = {name: getattr(value, "value", value) for name, value in cookies.items()}
        header = "; ".join(f"{name}={value}" for name, value in pairs.items())
        kwargs["headers"] = {**(kwargs.get("headers") or {}), "Cookie": header}
    if is_global_aiohttp_client_request_debug_enabled():
        _log.warning("%s %s", method, url)
    deadlines = Deadlines()
    kwargs.setdefault("timeout", aiohttp.ClientTimeout(total=deadlines.episode_s, sock_connect=deadlines.connect_s))
    return await send(get_global_aiohttp_client(), method, url, deadlines.connect_s, **kwargs)


async def raise_for_status(response: aiohttp.ClientResponse) -> None:
    """Raise `aiohttp.ClientResponseError` with `response_content` (bytes) if the reply is an error."""
    if response.ok:
        return
    content = await response.content.read()
    try:
        response.raise_for_status()
    except aiohttp.ClientResponseError as error:
        error.response_content = content  # type: ignore[attr-defined]
        raise


async def get_response_json(response: aiohttp.ClientResponse) -> Any:
    """The reply's body as JSON."""
    return orjson.loads(await response.read())


def _encoded(body: Any) -> bytes:
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_unset=True).encode()
    return orjson.dumps(body, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _keepalive_socket(limits: GlobalAIOHTTPAsyncClientConfig, address: tuple[Any, ...]) -> socket.socket:
    """A socket whose dead peer is noticed within minutes, so that a call whose server lost power ends."""
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", limits.global_aiohttp_tcp_keepalive_idle_seconds),
        ("TCP_KEEPINTVL", limits.global_aiohttp_tcp_keepalive_interval_seconds),
        ("TCP_KEEPCNT", limits.global_aiohttp_tcp_keepalive_probes),
    ):
        if number := getattr(socket, option, None):
            sock.setsockopt(socket.IPPROTO_TCP, number, value)
    return sock
