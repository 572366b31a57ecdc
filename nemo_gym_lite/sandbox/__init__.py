"""Sandboxes, in which environments run code that a model wrote."""

from nemo_gym_lite.sandbox.api import AsyncSandbox
from nemo_gym_lite.sandbox.config import resolve_provider_config, resolve_provider_metadata
from nemo_gym_lite.sandbox.providers import (
    SandboxCreateError,
    SandboxEndpoint,
    SandboxExecResult,
    SandboxHandle,
    SandboxProvider,
    SandboxResources,
    SandboxSpec,
    SandboxStatus,
    create_provider,
    get_provider_class,
    list_providers,
    register_provider,
)

__all__ = [
    "AsyncSandbox",
    "SandboxCreateError",
    "SandboxEndpoint",
    "SandboxExecResult",
    "SandboxHandle",
    "SandboxProvider",
    "SandboxResources",
    "SandboxSpec",
    "SandboxStatus",
    "create_provider",
    "get_provider_class",
    "list_providers",
    "register_provider",
    "resolve_provider_config",
    "resolve_provider_metadata",
]
