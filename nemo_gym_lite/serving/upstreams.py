"""Looks whether the inference servers behind the model servers answer, so that a wrong URL shows at once."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import aiohttp
from yarl import URL

from nemo_gym_lite.config.roots import find
from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.routing.endpoints_file import read_endpoints

PROBE_TIMEOUT_S = 3.0


async def silent_upstreams(servers: Sequence[ServerInstance], http: aiohttp.ClientSession) -> list[str]:
    """Return a line for every inference server that does not answer; any HTTP reply counts as an answer."""
    upstreams = [(key, url) for instance in servers for key, url in _base_urls(instance)]
    failures = await asyncio.gather(*(_failure(url, http) for _, url in upstreams))
    return [
        f"{_without_password(url)} does not answer ({failure}); configured as {key}"
        for (key, url), failure in zip(upstreams, failures, strict=True)
        if failure
    ]


def check_endpoints_files(servers: Iterable[ServerInstance]) -> None:
    """Refuse to begin with a file of endpoints that gives none; while a run is going it may come and go.

    Raises:
        ConfigError: One is not there or cannot be understood.
    """
    for instance in servers:
        if named := instance.config.get("endpoints_file"):
            _endpoints(_key(instance, "endpoints_file"), named)


def _endpoints(key: str, named: str) -> list[str]:
    path = find(named)
    if path is None:
        raise ConfigError(
            f"{key}: no such file: {named}", "write one base URL, such as http://vllm-1:8000/v1, per line"
        )
    try:
        return read_endpoints(path)
    except ConfigError as error:
        raise ConfigError(f"{key}: {path}: {error.message}", error.hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error}") from error


def _key(instance: ServerInstance, key: str) -> str:
    return f"{instance.name}.{instance.server_type}.{instance.implementation}.{key}"


def _base_urls(instance: ServerInstance) -> Iterator[tuple[str, str]]:
    """The inference servers of a model server, with the key that names them."""
    if instance.server_type != "responses_api_models":
        return
    listed = instance.config.get("endpoints_file")
    if listed:  # takes the place of base_url
        path = _key(instance, "endpoints_file")
        yield from ((path, url) for url in _endpoints(path, listed))
    for key, value in instance.config.items():
        if key.endswith("base_url") and value and not (listed and key == "base_url"):
            urls = value.split(",") if isinstance(value, str) else value
            yield from ((_key(instance, key), url.strip()) for url in urls)


async def _failure(url: str, http: aiohttp.ClientSession) -> str:
    timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
    try:
        async with http.get(f"{url.rstrip('/')}/models", timeout=timeout):
            return ""
    except aiohttp.ClientSSLError:
        return ""  # it is there; whether its certificate will do shows with the first call
    except TimeoutError:
        return f"nothing within {PROBE_TIMEOUT_S:g} s"
    except (aiohttp.ClientError, ValueError) as error:
        return str(error)


def _without_password(url: str) -> str:
    try:
        return str(URL(url).with_user(None))
    except ValueError:  # no URL at all
        return url
