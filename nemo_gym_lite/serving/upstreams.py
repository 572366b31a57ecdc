"""Looks whether the inference servers behind the model servers answer, so that a wrong URL shows at once."""

import asyncio
from collections.abc import Iterator, Sequence

import aiohttp
from yarl import URL

from nemo_gym_lite.config.servers import ServerInstance

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


def _base_urls(instance: ServerInstance) -> Iterator[tuple[str, str]]:
    """The inference servers of a model server, with the key that names them."""
    if instance.server_type != "responses_api_models":
        return
    for key, value in instance.config.items():
        if key.endswith("base_url") and value:
            urls = value.split(",") if isinstance(value, str) else value
            path = f"{instance.name}.{instance.server_type}.{instance.implementation}.{key}"
            yield from ((path, url.strip()) for url in urls)


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
