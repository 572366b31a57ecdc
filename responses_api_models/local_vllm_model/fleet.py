"""All replicas of one model: started together, kept running, ended together."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import aiohttp

from responses_api_models.local_vllm_model.replica import Patience, Replica, ReplicaPlan, Show

T = TypeVar("T")


class Fleet:
    """The replicas.

    Args:
        plans: What they are.
        http: For asking whether they are ready.
        show: Gets lines of news.
        patience: How patient to be with each.
    """

    def __init__(
        self, plans: Sequence[ReplicaPlan], http: aiohttp.ClientSession, show: Show, patience: Patience
    ) -> None:
        self._replicas = [Replica(plan, http, show, patience) for plan in plans]

    async def start(self) -> None:
        """Start all at once and wait until all are ready.

        Raises:
            ServerStartError: One of them is not to be had.
        """
        starting = [asyncio.create_task(replica.start()) for replica in self._replicas]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.wait(starting)

    async def keep(self, stopping: "asyncio.Future[Any]") -> None:
        """Start those again that die, until `stopping` is done.

        Raises:
            ServerStartError: All have crashed too often.
        """
        keepers = [asyncio.create_task(replica.keep()) for replica in self._replicas]
        all_down = asyncio.create_task(asyncio.wait(keepers))
        try:
            await asyncio.wait([all_down, stopping], return_when=asyncio.FIRST_COMPLETED)
            if all_down.done():
                raise keepers[0].result()
        finally:
            for task in (*keepers, all_down):
                task.cancel()
            await asyncio.wait(keepers)

    async def stop(self) -> None:
        """End all, with what they started."""
        await asyncio.gather(*(replica.stop() for replica in self._replicas))


async def until(ended: "asyncio.Future[Any]", work: Coroutine[Any, Any, T]) -> T | None:
    """Do `work`, or as much of it as there is time for until `ended` is done; returns its result, None without one."""
    task = asyncio.create_task(work)
    await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    await asyncio.wait({task})
    return None if task.cancelled() else task.result()
