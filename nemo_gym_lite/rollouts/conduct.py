"""Runs what goes on beside the rollouts, for as long as they play."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nemo_gym_lite.errors import GymError


@contextmanager
def answering(loop: asyncio.AbstractEventLoop, answers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Answer signals for as long as the block runs."""
    for number, answer in answers.items():
        loop.add_signal_handler(number, answer)
    try:
        yield
    finally:
        for number in answers:
            loop.remove_signal_handler(number)


async def beside(main: Coroutine[Any, Any, None], duties: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run `main` to its end with `duties` beside it, which are cancelled then.

    Raises:
        GymError: What `main` raised, or the duty that failed first; everything else is cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(duty) for duty in duties]
            await main
            for task in tasks:
                task.cancel()
    except* GymError as errors:
        raise errors.exceptions[0] from None
