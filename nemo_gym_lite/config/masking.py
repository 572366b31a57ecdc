"""Masks secrets before a configuration is shown, and only them: `max_tokens` is no secret, `api_key` is."""

import re
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

MASK = "****"

_SECRET = re.compile(
    r"""(?ix) ^ (?:.*[_-])? (?:
        api[_-]?keys? | access[_-]?keys? | secret[_-]?keys? | private[_-]?keys? | subscription[_-]?keys?
        | account[_-]?keys? | signing[_-]?keys? | encryption[_-]?keys? | ssh[_-]?keys?
        | token | (?:auth|access|bearer|refresh|api|hf|session|tracking|secret)[_-]?tokens?
        | passwords? | passwd | passphrase | secrets? | credentials? | authorization | cookies?
    ) $"""
)
"""A key's whole name or its last words: `policy_api_key`, `HF_TOKEN`, not `max_tokens` or `key_metrics`."""

_NO_SECRET = re.compile(r"(?i)^(?:.*[_-])?(?:pad|eos|bos|unk|sep|cls|mask|stop|special|image|start|end|per)[_-]token$")
"""Names of tokenizers' tokens."""

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
"""The `user:password` of a URL."""


def is_secret(key: object) -> bool:
    """Whether a value under this key is to be masked."""
    return isinstance(key, str) and bool(_SECRET.match(key)) and not _NO_SECRET.match(key)


def mask_secrets(container: Any) -> Any:
    """Return a copy with every secret value replaced by `****`; interpolations are resolved on the way."""
    if isinstance(container, DictConfig | ListConfig):
        container = OmegaConf.to_container(container, resolve=True)
    return _masked(container, hide=False)


def _masked(node: Any, *, hide: bool) -> Any:
    if isinstance(node, dict):
        return {key: _masked(value, hide=hide or is_secret(key)) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_masked(item, hide=hide) for item in node]
    if hide:
        return node if node is None or isinstance(node, bool) else MASK
    return _USER_INFO.sub(MASK, node) if isinstance(node, str) else node
