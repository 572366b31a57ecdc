"""Writes out the short form of a vLLM model, `vllm_model: {model_name: ..., <engine arguments>}`."""

from pathlib import Path

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.keys import SERVER_TYPES
from nemo_gym_lite.config.merging import merge
from nemo_gym_lite.config.roots import INSTALL_ROOT
from nemo_gym_lite.errors import ConfigError

SHORT_FORM = "vllm_model"
POLICY = "policy_model"
_RUNNING = Path("responses_api_models/vllm_model/configs/vllm_model.yaml")
_STARTED = Path("responses_api_models/local_vllm_model/configs/local_vllm_model.yaml")
_OWN_SETTINGS = ("num_replicas", "env_vars", "executable", "hf_home", "log_dir", "start_timeout_s", "api_key", "host")
"""Keys of the short form that are `local_vllm_model`'s own; all others are arguments of the engine."""


def expand_short_forms(tree: Json) -> Json:
    """Return the tree with the short form replaced by the policy model that it means.

    With `policy_base_url` the engine runs already; without it, `local_vllm_model` starts it with these arguments.

    Raises:
        ConfigError: The short form names no model.
    """
    short = tree.get(SHORT_FORM)
    if not isinstance(short, dict) or any(kind in short for kind in SERVER_TYPES):
        return tree
    arguments = dict(short)
    name = arguments.pop("model_name", None) or arguments.pop("model", None)
    if not isinstance(name, str):
        known = ", ".join(map(str, short)) or "no key at all"
        raise ConfigError(f"`{SHORT_FORM}` names no model, it has {known}", "add `model_name: <model>` to the block")
    rest = {key: value for key, value in tree.items() if key != SHORT_FORM}
    if tree.get("policy_base_url"):
        defaults = {"policy_api_key": "EMPTY", "policy_model_name": name}
        return merge(merge(_read(_RUNNING), _policy("vllm_model", {"model": name})), {**defaults, **rest})
    settings = {key: arguments.pop(key) for key in _OWN_SETTINGS if key in arguments}
    own = {"model": name, "api_key": "EMPTY", **settings, "engine_args": arguments}
    full = merge(_read(_STARTED), _policy("local_vllm_model", own))
    return merge(full, rest)


def _read(path: Path) -> Json:
    return read_yaml(INSTALL_ROOT / path)


def _policy(implementation: str, settings: Json) -> Json:
    return {POLICY: {"responses_api_models": {implementation: settings}}}
