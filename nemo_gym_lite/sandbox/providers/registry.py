"""Sandbox providers by the name under which configurations choose them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import SandboxConfigError
from nemo_gym_lite.sandbox.providers.base import SandboxProvider
from nemo_gym_lite.sandbox.providers.container import RUNTIMES, ContainerProvider
from nemo_gym_lite.sandbox.providers.subprocess_provider import SubprocessProvider

_providers: dict[str, Callable[..., SandboxProvider]] = {
    "subprocess": SubprocessProvider,
    **{runtime: partial(ContainerProvider, runtime) for runtime in RUNTIMES},
}


def register_provider(name: str, provider_class: Callable[..., SandboxProvider]) -> None:
    """Add a provider of your own.

    Raises:
        SandboxConfigError: The name is empty or taken.
    """
    if not name or name in _providers:
        raise SandboxConfigError(f"sandbox provider {name!r}: the name is {'taken' if name else 'empty'}")
    _providers[name] = provider_class


def get_provider_class(name: str) -> Callable[..., SandboxProvider]:
    """What makes providers of this name.

    Raises:
        SandboxConfigError: There is none.
    """
    if name not in _providers:
        known = f"there are {', '.join(list_providers())}"
        raise SandboxConfigError(f"no sandbox provider {name!r}", did_you_mean(name, _providers, known))
    return _providers[name]


def list_providers() -> list[str]:
    """Names of all providers."""
    return sorted(_providers)


def create_provider(config: Mapping[str, Any]) -> SandboxProvider:
    """Make the provider of a mapping `{name: {setting: value}}`.

    Raises:
        SandboxConfigError: It does not hold exactly one name, or the name or a setting is unknown.
    """
    if len(config) != 1:
        raise SandboxConfigError(f"sandbox provider: {list(config)} is not one name", "write {subprocess: {}}")
    ((name, settings),) = config.items()
    make = get_provider_class(name)
    if not isinstance(settings or {}, Mapping):
        raise SandboxConfigError(f"sandbox provider {name}: {settings!r} is not a mapping of settings")
    try:
        return make(**(settings or {}))
    except TypeError as error:
        raise SandboxConfigError(f"sandbox provider {name}: {str(error).partition(') ')[2] or error}") from error
