"""Which provider an environment's `sandbox_provider` means: a top-level block's name, or the block itself.

A block names one provider with its settings, and may hold `default_metadata`, labels for every sandbox:
`sandbox: {docker: {network: none}, default_metadata: {team: maths}}`.
"""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import SandboxConfigError

_METADATA = "default_metadata"


def resolve_provider_config(
    sandbox_provider: str | Mapping[str, Any], named_configs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return `{provider: settings}`.

    Args:
        sandbox_provider: The name of a top-level block, or a block.
        named_configs: The whole configuration, in which names are looked up.

    Raises:
        SandboxConfigError: There is no such block, or it does not name exactly one provider.
    """
    block = _block(sandbox_provider, named_configs)
    names = [name for name in block if name != _METADATA]
    if len(names) != 1:
        raise SandboxConfigError(
            f"sandbox_provider: {sandbox_provider!r} names {len(names)} providers ({', '.join(names)})",
            "write one, as in {subprocess: {}}",
        )
    return {names[0]: block[names[0]]}


def resolve_provider_metadata(
    sandbox_provider: str | Mapping[str, Any], named_configs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the block's `default_metadata`, empty if it has none; see `resolve_provider_config`.

    Raises:
        SandboxConfigError: There is no such block, or its metadata are not a mapping.
    """
    metadata = _block(sandbox_provider, named_configs).get(_METADATA) or {}
    if not isinstance(metadata, Mapping):
        raise SandboxConfigError(f"sandbox_provider: default_metadata {metadata!r} is not a mapping")
    return dict(metadata)


def _block(sandbox_provider: Any, named_configs: Mapping[str, Any] | None) -> dict[str, Any]:
    found = _plain(sandbox_provider)
    if isinstance(found, str):
        found = _plain((named_configs or {}).get(sandbox_provider))
    if isinstance(found, Mapping):
        return dict(found)
    if isinstance(sandbox_provider, str):
        blocks = [str(name) for name in named_configs or ()]
        near = did_you_mean(sandbox_provider, blocks)
        raise SandboxConfigError(
            f"sandbox_provider: there is no top-level block {sandbox_provider!r}",
            near or f"add one to the configuration: `{sandbox_provider}: {{subprocess: {{}}}}`",
        )
    raise SandboxConfigError(f"sandbox_provider: {sandbox_provider!r} is neither the name of a block nor a block")


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig) else value
