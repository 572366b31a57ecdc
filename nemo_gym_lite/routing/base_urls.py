"""What base URLs a user may write, and how."""

from collections.abc import Sequence
from typing import Any

from yarl import URL

from nemo_gym_lite.errors import ConfigError


def base_urls(value: Any) -> list[str]:
    """One URL, a comma-separated string or a list, as a list of URLs without a final slash, each once.

    Raises:
        ConfigError: There is none, or one is no HTTP URL.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"base_url must be a URL or a list of URLs, got {value!r}")
    urls = list(dict.fromkeys(part.strip().rstrip("/") for part in parts if part.strip()))
    for url in urls:
        _check_url(url)
    if not urls:
        raise ConfigError("base_url is empty", "write it like http://127.0.0.1:8000/v1")
    return urls


def _check_url(text: str) -> None:
    try:
        url = URL(text)
        usable = url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError:  # such as a port beyond 65,535
        usable = False
    if not usable:
        raise ConfigError(f"base_url {text!r} is no HTTP URL", "write it like http://127.0.0.1:8000/v1")
    if url.user or url.password:
        raise ConfigError(
            f"base_url {str(url.with_user(None))!r} holds a name or password", "the key goes into api_key"
        )
