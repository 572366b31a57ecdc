"""What a launcher keeps running: a process with the servers in it, and what the head server tells of them."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.serving.child import Child, title_of


@dataclass(slots=True)
class Kept:
    """A process that the launcher keeps running, with one server or several in it."""

    instances: tuple[ServerInstance, ...]
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when all its servers first answered."""
    child: Child | None = None
    restarts: int = 0
    status: str = "starting"
    started_at: float = 0.0
    """Unix time at which the present process was started."""

    @property
    def title(self) -> str:
        """What it is, for people."""
        return title_of(self.instances)

    def records(self) -> list[Json]:
        """What the head server tells of its servers, with NeMo Gym's names."""
        return [self._record(instance) for instance in self.instances]

    def _record(self, instance: ServerInstance) -> Json:
        return {
            "process_name": instance.name,
            "server_type": instance.server_type,
            "name": instance.implementation,
            "dir_path": str(instance.entrypoint.parent),
            "entrypoint": instance.entrypoint.name,
            "host": instance.host,
            "port": instance.port,
            "url": instance.url,
            "pid": self.child.pid if self.child else None,
            "config_path": instance.name,
            "start_time": self.started_at,
            "status": self.status,
            "uptime_seconds": time.time() - self.started_at if self.started_at else 0.0,
            "restarts": self.restarts,
        }


def by_process(servers: Iterable[ServerInstance]) -> list[tuple[ServerInstance, ...]]:
    """Tell which servers share a process: our own agents, which neither block nor hold state; each other has its own.

    Every environment brings an agent, so this halves the number of processes.
    """
    servers = list(servers)
    sharing = tuple(server for server in servers if server.shares_process)
    alone: list[tuple[ServerInstance, ...]] = [(server,) for server in servers if not server.shares_process]
    return [*alone, sharing] if sharing else alone
