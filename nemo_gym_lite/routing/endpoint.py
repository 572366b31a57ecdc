"""One inference server over HTTP: a request goes out whole, an answer or an `EndpointError` comes back."""

import copy
import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp
import orjson
from yarl import URL

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import EndpointError
from nemo_gym_lite.routing.retry import classify, excerpt

ANSWER_KEYS = ("choices", "output")
"""An answer has one of these: Chat Completions and Completions the first, Responses the second."""

_LARGE_BYTES = 2**20  # aiohttp wants larger bodies as a file, to write them in pieces


class Endpoint:
    """Sends requests to one base URL, without retries.

    Args:
        base_url: Up to and without the path, usually ending in `/v1`.
        http: The process's session; owned by the caller.
        deadlines: `connect_s`, `first_byte_s` and `call_s` bound each request.
        headers: Sent with each request, such as the authorization.
        query: Appended to each URL.
    """

    def __init__(
        self,
        base_url: str,
        http: aiohttp.ClientSession,
        deadlines: Deadlines,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = http
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._query = dict(query or {})
        self._urls: dict[str, URL] = {}  # by path; parsing one costs more than the pool's decision
        self._timeout = aiohttp.ClientTimeout(
            total=deadlines.call_s, sock_connect=deadlines.connect_s, sock_read=deadlines.first_byte_s
        )

    def at(self, base_url: str) -> "Endpoint":
        """Another endpoint that is asked in the same way."""
        other = copy.copy(self)
        other.base_url, other._urls = base_url.rstrip("/"), {}
        return other

    async def post(self, path: str, body: bytes, session_id: str) -> tuple[Json, Mapping[str, str]]:
        """POST `body` to `base_url + path` and return the answer and its headers.

        Raises:
            EndpointError: Of class `unreachable`, `reset`, `timeout`, `rate_limited`, `server_error`,
                `bad_request` or `bad_reply`.
        """
        url = self.base_url + path
        data = body if len(body) < _LARGE_BYTES else io.BytesIO(body)
        headers = {**self._headers, "X-Session-ID": session_id}
        with map_transport_errors(url):
            async with self._http.post(self._url(path), data=data, headers=headers, timeout=self._timeout) as reply:
                content = await reply.read()
        if reply.status >= 300:
            raise classify(url, reply.status, reply.headers, content, time.time())
        return parse_answer(url, content), reply.headers

    def _url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self.base_url + path).update_query(self._query)
        return url


def parse_answer(url: str, content: bytes) -> Json:
    """Read the body of a 200.

    Raises:
        EndpointError: `bad_reply`: not JSON, an error object, no answer in it, or one that was aborted half-way, which
            must not be taken for the model's own.
    """
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _bad_reply(url, f"what is not JSON ({error})", content) from error
    if not isinstance(answer, dict) or not any(isinstance(answer.get(key), list) for key in ANSWER_KEYS):
        raise _bad_reply(url, "no answer", content)
    if answer.get("error"):
        raise _bad_reply(url, "an error", content)
    choices = answer.get("choices")
    if choices == [] or (choices and choices[0].get("finish_reason") == "abort"):
        raise _bad_reply(url, "an aborted answer", content)
    return answer


@contextmanager
def map_transport_errors(url: str) -> Iterator[None]:
    """Turn what aiohttp raises into an `EndpointError`: the one place where its exceptions are known."""
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise _transport_error("unreachable", f"cannot connect to {url}", error) from error
    except TimeoutError as error:
        raise _transport_error("timeout", f"no answer in time from {url}", error) from error
    except aiohttp.ClientResponseError as error:  # what came was not HTTP
        raise _transport_error("bad_reply", f"malformed reply from {url}", error) from error
    except (aiohttp.ClientError, OSError) as error:
        raise _transport_error("reset", f"connection to {url} broke", error) from error


def _transport_error(failure_class: str, what: str, error: BaseException) -> EndpointError:
    cause = str(error) or type(error).__name__
    return EndpointError(failure_class, f"{what}: {cause}", retryable=True)


def _bad_reply(url: str, what: str, content: bytes) -> EndpointError:
    message = f"{url} answered 200 with {what}: {excerpt(content)}"
    return EndpointError("bad_reply", message, retryable=True, status=200)
