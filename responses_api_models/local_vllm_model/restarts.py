"""Starts an engine again each time that it dies, until it dies too often in a row."""

import asyncio
from collections.abc import Awaitable, Callable

from nemo_gym_lite.errors import ServerStartError
from nemo_gym_lite.serving.launcher import LaunchPolicy


class Restarts:
    """Counts the crashes in a row of one engine.

    Args:
        title: What the engine is called in messages.
        start: Starts it and waits until it is ready; raises `ServerStartError` if that fails.
        show: Gets lines of news.
        policy: How often, and after which waits.
    """

    def __init__(
        self, title: str, start: Callable[[], Awaitable[None]], show: Callable[[str], None], policy: LaunchPolicy
    ) -> None:
        self._title, self._start, self._show, self._policy = title, start, show, policy
        self._crashes = 0

    @property
    def stays_down(self) -> str:
        """That it is not started any more, in words."""
        return f"{self._title} crashed {self._crashes} times in a row and stays down"

    async def after(self, failure: ServerStartError, lived_s: float) -> ServerStartError | None:
        """Start the engine again, which was ready for `lived_s` seconds.

        Returns:
            None as soon as it is ready; its last failure if it has crashed too often.
        """
        if lived_s > self._policy.steady_s:
            self._crashes = 0
        while True:
            self._crashes += 1
            if self._crashes > self._policy.restarts:
                return failure
            wait_s = self._policy.wait_s(self._crashes)
            self._show(f"{failure.message}\n{failure.hint}".rstrip())
            self._show(f"{self._title}: restart {self._crashes} of {self._policy.restarts} in {wait_s:g} s")
            await asyncio.sleep(wait_s)
            try:
                await self._start()
            except ServerStartError as error:
                failure = error
            else:
                return None
