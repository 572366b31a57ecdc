"""What a sandbox is asked for and what it answers, and the protocol of those who provide one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

from nemo_gym_lite.errors import SandboxConfigError, SandboxCreateError  # noqa: F401 - environments import both from here


class SandboxStatus(StrEnum):
    """Where in its life a sandbox is."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class SandboxEndpoint:
    """Where a port of a sandbox is reached, and with which headers."""

    endpoint: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SandboxResources:
    """What a sandbox may use. None is no limit.

    Attributes:
        cpu: Cores; not limited by the subprocess provider.
        memory_mib: Memory; for the subprocess provider the address space of each process.
        disk_gib: Disk; not limited by our providers.
        gpu: Number of GPUs, of the kind `gpu_type`; given by the container provider only.
    """

    cpu: float | None = None
    memory_mib: int | None = None
    disk_gib: int | None = None
    gpu: int | None = None
    gpu_type: str | None = None

    @classmethod
    def from_mapping(cls, resources: Mapping[str, Any] | None) -> Self:
        """Read resources from a configuration.

        Raises:
            SandboxConfigError: A key is unknown.
        """
        known = [each.name for each in fields(cls)]
        if unknown := set(resources or ()) - set(known):
            raise SandboxConfigError(
                f"sandbox resources: unknown keys {', '.join(sorted(unknown))}", f"there are {', '.join(known)}"
            )
        kinds = {"cpu": float, "gpu_type": str}
        given = {name: value for name, value in (resources or {}).items() if value is not None}
        return cls(**{name: kinds.get(name, int)(value) for name, value in given.items()})


@dataclass(frozen=True)
class SandboxSpec:
    """The sandbox that is asked for.

    Attributes:
        image: Container image; the subprocess provider needs none.
        ttl_s: Seconds after which a container ends by itself, even if nobody stops it.
        ready_timeout_s: Seconds that the start may take.
        workdir: Folder in which commands run.
        env: Environment variables; commands see these and a few plain ones, and none of ours.
        files: Text by path, written before the first command.
        metadata: Labels.
        resources: What it may use; a mapping is read as `SandboxResources`.
        entrypoint: What a container runs instead of waiting for commands.
        provider_options: For our providers: `cpu_s` (CPU seconds of one process), `file_mib` (size of one file),
            `processes`, `output_bytes` (of stdout and of stderr; beyond, the command is killed).
        ports: TCP ports of services in it.
    """

    image: str | None = None
    ttl_s: float | None = None
    ready_timeout_s: float | None = None
    workdir: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    resources: SandboxResources | Mapping[str, Any] = field(default_factory=SandboxResources)
    entrypoint: list[str] | None = None
    provider_options: dict[str, Any] = field(default_factory=dict)
    ports: tuple[int, ...] | list[int] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.resources, SandboxResources):
            object.__setattr__(self, "resources", SandboxResources.from_mapping(self.resources))
        ports = tuple(map(int, self.ports))  # of a YAML they may be texts
        if len(set(ports)) < len(ports) or not all(0 < port < 65536 for port in ports):
            raise SandboxConfigError(f"sandbox ports: {self.ports!r} are not different TCP ports")
        object.__setattr__(self, "ports", ports)


@dataclass
class SandboxHandle:
    """A sandbox that exists; `raw` is its provider's own."""

    sandbox_id: str
    provider_name: str
    raw: Any = None


@dataclass(frozen=True)
class SandboxExecResult:
    """How a command ended.

    Attributes:
        return_code: Exit code, or minus the number of the signal; 125 if the sandbox itself failed.
        error_type: `timeout`, `output_limit` or `sandbox` if the command did not end by itself, else None.
    """

    stdout: str | None
    stderr: str | None
    return_code: int
    error_type: str | None = None


class SandboxProvider(Protocol):
    """Makes sandboxes. Where a call fails for reasons of the sandbox it raises `SandboxCreateError` or `OSError`."""

    name: str

    async def create(self, spec: SandboxSpec) -> SandboxHandle:
        """Make a sandbox that is ready for commands."""

    async def exec(
        self,
        handle: SandboxHandle,
        command: str,
        *,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float | None = None,
        user: str | int | None = None,
    ) -> SandboxExecResult:
        """Run a shell command; how it ends is in the result and raises nothing."""

    async def upload_file(self, handle: SandboxHandle, source_path: Path, target_path: str) -> None:
        """Copy a file in."""

    async def download_file(self, handle: SandboxHandle, source_path: str, target_path: Path) -> None:
        """Copy a file out."""

    async def status(self, handle: SandboxHandle) -> SandboxStatus:
        """Whether it still runs."""

    async def close(self, handle: SandboxHandle) -> None:
        """End the sandbox with all that runs in it."""

    async def aclose(self) -> None:
        """Let go of what the provider holds for all its sandboxes."""


class LocalProvider:
    """What our providers have in common: their sandboxes are on this machine, and a handle holds its spec."""

    name: str

    async def aclose(self) -> None:
        """Nothing is held."""

    async def serialize_handle(self, handle: SandboxHandle, *, scope: str | None = None) -> dict[str, Any]:
        """What `connect` needs, in another process of this machine."""
        return {"sandbox_id": handle.sandbox_id, "spec": {**asdict(handle.raw), "files": {}}}

    async def connect(self, descriptor: Mapping[str, Any]) -> SandboxHandle:
        """The sandbox of a descriptor."""
        return SandboxHandle(str(descriptor["sandbox_id"]), self.name, SandboxSpec(**descriptor.get("spec", {})))
