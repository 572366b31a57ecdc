"""One sandbox, from its start to its stop, whoever provides it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nemo_gym_lite.errors import SandboxConfigError
from nemo_gym_lite.sandbox.providers.base import (
    SandboxEndpoint,
    SandboxExecResult,
    SandboxHandle,
    SandboxProvider,
    SandboxSpec,
    SandboxStatus,
)
from nemo_gym_lite.sandbox.providers.registry import create_provider


class AsyncSandbox:
    """A sandbox to run commands in; `async with` stops it.

    Args:
        provider: A provider, or a mapping `{name: settings}` that says which.
        spec: What is asked for, if `start` does not say.

    Raises:
        SandboxConfigError: There is no such provider.
        SandboxCreateError: The provider does not work on this machine.
    """

    def __init__(self, provider: Mapping[str, Any] | SandboxProvider, spec: SandboxSpec | None = None) -> None:
        self._provider: SandboxProvider = create_provider(provider) if isinstance(provider, Mapping) else provider
        self._spec = spec
        self._handle: SandboxHandle | None = None
        self._stopped = False

    async def start(self, spec: SandboxSpec | None = None) -> Self:
        """Make the sandbox and write its files.

        Raises:
            SandboxCreateError: It cannot be made.
        """
        if self._handle is not None or self._stopped:
            raise RuntimeError(f"sandbox is already {'stopped' if self._stopped else 'started'}")
        wanted = spec or self._spec
        if wanted is None:
            raise SandboxConfigError("a sandbox needs a SandboxSpec to start")
        self._spec, self._handle = wanted, await self._provider.create(wanted)
        try:
            for path, text in wanted.files.items():
                with tempfile.NamedTemporaryFile("w", encoding="utf-8") as source:
                    source.write(text)
                    source.flush()
                    await self.upload(source.name, path)
        except BaseException:  # whatever it was, a cancellation too: a sandbox that is not whole must not stay
            await self.stop()
            raise
        return self

    async def exec(
        self,
        command: str,
        *,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_s: float | None = 180,
        user: str | int | None = None,
    ) -> SandboxExecResult:
        """Run a shell command for at most `timeout_s` seconds; how it ends is in the result."""
        folder = cwd or (self._spec.workdir if self._spec else None)
        return await self._provider.exec(self._started(), command, cwd=folder, env=env, timeout_s=timeout_s, user=user)

    async def upload(self, local_path: Path | str, remote_path: str) -> None:
        """Copy a file in."""
        await self._provider.upload_file(self._started(), Path(local_path), remote_path)

    async def download(self, remote_path: str, local_path: Path | str) -> None:
        """Copy a file out."""
        await self._provider.download_file(self._started(), remote_path, Path(local_path))

    async def endpoint(self, port: int) -> SandboxEndpoint:
        """Where a port that the spec names is reached.

        Raises:
            SandboxConfigError: The spec does not name it.
            NotImplementedError: The provider has no such thing.
        """
        if self._spec is None or port not in self._spec.ports:
            raise SandboxConfigError(f"sandbox port {port} is not among `ports` of the spec")
        find: Any = getattr(self._provider, "endpoint", None)
        if find is None:
            raise NotImplementedError(f"sandboxes of {self._provider.name} have no endpoints")
        found: SandboxEndpoint = await find(self._started(), port)
        return found

    async def status(self) -> SandboxStatus:
        """Where in its life it is."""
        if self._stopped:
            return SandboxStatus.STOPPED
        return await self._provider.status(self._handle) if self._handle else SandboxStatus.UNKNOWN

    async def serialize(self) -> dict[str, Any]:
        """What `connect` needs to reach it from another process."""
        provider: Any = self._provider
        descriptor: dict[str, Any] = await provider.serialize_handle(self._started())
        return descriptor

    @classmethod
    async def connect(cls, descriptor: Mapping[str, Any], *, provider: Mapping[str, Any] | SandboxProvider) -> Self:
        """The sandbox that another process has started and serialized."""
        sandbox = cls(provider)
        owner: Any = sandbox._provider
        sandbox._handle = await owner.connect(descriptor)
        return sandbox

    async def stop(self) -> None:
        """End it with all that runs in it; once is enough."""
        if not self._stopped:
            self._stopped = True
            try:
                if self._handle is not None:
                    await self._provider.close(self._handle)
            finally:
                await self._provider.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _started(self) -> SandboxHandle:
        if self._handle is None or self._stopped:
            raise RuntimeError("sandbox has not been started, or is stopped")
        return self._handle
