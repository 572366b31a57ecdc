"""Writes out the short form of a vLLM model, `vllm_model: {model_name: ..., <engine arguments>}`."""

import json
import shlex
from pathlib import Path
from typing import Any

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.keys import SERVER_TYPES
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.config.merging import merge
from nemo_gym_lite.config.roots import INSTALL_ROOT
from nemo_gym_lite.errors import ConfigError

SHORT_FORM = "vllm_model"
POLICY = "policy_model"
_FULL_FORM = Path("responses_api_models/vllm_model/configs/vllm_model.yaml")


def expand_short_forms(tree: Json) -> Json:
    """Return the tree with the short form replaced by the policy model that it means.

    The engine itself is the user's to start; its address is `policy_base_url`.

    Raises:
        ConfigError: There is no `policy_base_url`; the message holds the command that starts the engine.
    """
    short = tree.get(SHORT_FORM)
    if not isinstance(short, dict) or any(kind in short for kind in SERVER_TYPES):
        return tree
    arguments = dict(short)
    name = arguments.pop("model_name", None) or arguments.pop("model", None)
    if not isinstance(name, str):
        known = ", ".join(map(str, short)) or "no key at all"
        raise ConfigError(f"`{SHORT_FORM}` names no model, it has {known}", "add `model_name: <model>` to the block")
    if not tree.get("policy_base_url"):
        raise ConfigError(
            f"`{SHORT_FORM}` describes an engine of {name}, but `policy_base_url` does not say where it is",
            f"start it with\n\n  {serve_command(name, mask_secrets(arguments))}\n\n"
            "and put its address into env.yaml: `policy_base_url: http://127.0.0.1:8000/v1`",
        )
    defaults = {"policy_api_key": "EMPTY", "policy_model_name": name}
    full = read_yaml(INSTALL_ROOT / _FULL_FORM)
    rest = {key: value for key, value in tree.items() if key != SHORT_FORM}
    return merge(merge(full, {POLICY: {"responses_api_models": {"vllm_model": {"model": name}}}}), {**defaults, **rest})


def serve_command(model: str, arguments: Json) -> str:
    """Return the shell line that starts a vLLM server with these engine arguments."""
    words = ["vllm", "serve", model]
    for key, value in arguments.items():
        words += _flag(str(key).replace("_", "-"), value)
    return shlex.join(words)


def _flag(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if value is None:
        return []
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value)]
