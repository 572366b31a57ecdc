"""Which rollout a request belongs to: ids in paths, made and read in one place, and the id of the running request."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nemo_gym_lite.config_types import ROLLOUT_PATH_PREFIX, TOKEN_CAPTURE_PATH_SEGMENT
from nemo_gym_lite.row_fields import ATTEMPT_INDEX, ROLLOUT_ID, ROLLOUT_INDEX, TASK_INDEX

_ID = "[A-Za-z0-9][A-Za-z0-9._-]*"
_PATH = re.compile(f"/{ROLLOUT_PATH_PREFIX}/({_ID})(?:/{TOKEN_CAPTURE_PATH_SEGMENT})?(?=/)")

ROLLOUT_ID_PATTERN = re.compile(f"^{_ID}$")

_current: ContextVar[str | None] = ContextVar("rollout_id", default=None)


def current_rollout_id() -> str | None:
    """The id in the path of the request that is being answered, None if it has none."""
    return _current.get()


@contextmanager
def rollout_context(rollout_id: str | None) -> Iterator[None]:
    """Make `rollout_id` the current one for the length of a block."""
    token = _current.set(rollout_id)
    try:
        yield
    finally:
        _current.reset(token)


def maybe_rollout_id_from_run_body(body: Any) -> str | None:
    """Id of the rollout that a row or a run request asks for; None without labels.

    It is `_ng_rollout_id`, or else task and rollout index as `3-0`, and the third attempt at it is `3-0-a2`.

    Raises:
        ValueError: `_ng_rollout_id` cannot be a part of a path.
    """
    rollout_id = _field(body, ROLLOUT_ID)
    if rollout_id is None:
        task, index = _field(body, TASK_INDEX), _field(body, ROLLOUT_INDEX)
        if task is None or index is None:
            return None
        rollout_id = f"{task}-{index}"
    elif not isinstance(rollout_id, str) or not ROLLOUT_ID_PATTERN.match(rollout_id):
        raise ValueError(
            f"{ROLLOUT_ID}={rollout_id!r}: an id is made of letters, digits, `.`, `_` and `-`, letter or digit first"
        )
    attempt = _field(body, ATTEMPT_INDEX)
    return f"{rollout_id}-a{attempt}" if attempt else rollout_id


def rollout_path_prefix(rollout_id: str | None, *, token_capture: bool = False) -> str:
    """What comes before a path so that it names its rollout: `/ng-rollout/<id>`; empty without an id."""
    if not rollout_id:
        return ""
    segment = f"/{TOKEN_CAPTURE_PATH_SEGMENT}" if token_capture else ""
    return f"/{ROLLOUT_PATH_PREFIX}/{rollout_id}{segment}"


def apply_rollout_prefix(base_url: str, rollout_id: str | None, *, token_capture: bool = False) -> str:
    """`base_url` (a server's root, without `/v1`) whose calls name their rollout; unchanged without an id."""
    if not rollout_id:
        return base_url
    return base_url.rstrip("/") + rollout_path_prefix(rollout_id, token_capture=token_capture)


def split_path(path: str) -> tuple[str | None, str]:
    """The rollout id that a path begins with, if any, and the path without it."""
    match = _PATH.match(path) if path.startswith(f"/{ROLLOUT_PATH_PREFIX}/") else None
    return (match[1], path[match.end() :]) if match else (None, path)


class RolloutContextMiddleware:
    """Lets any path be prefixed `/ng-rollout/<id>`, and tells whoever answers the id, in every way they may ask.

    Args:
        app: The ASGI app that answers.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        rollout_id, path = split_path(scope["path"]) if scope["type"] == "http" else (None, "")
        if rollout_id is None:
            await self._app(scope, receive, send)
            return
        params = {**scope.get("path_params", {}), "rollout_id": rollout_id}
        with rollout_context(rollout_id):
            await self._app({**scope, "path": path, "raw_path": path.encode(), "path_params": params}, receive, send)


def _field(body: Any, name: str) -> Any:
    return body.get(name) if isinstance(body, Mapping) else getattr(body, name, None)
