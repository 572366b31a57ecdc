"""Writes out the short form of a vLLM model, `vllm_model: {model_name: ..., <engine arguments>}`."""

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.keys import SERVER_TYPES
from nemo_gym_lite.config.merging import merge
from nemo_gym_lite.config.roots import INSTALL_ROOT
from nemo_gym_lite.errors import ConfigError

SHORT_FORM = "vllm_model"
POLICY = "policy_model"
_RUNNING = INSTALL_ROOT / "responses_api_models/vllm_model/configs/vllm_model.yaml"
_STARTED = INSTALL_ROOT / "responses_api_models/local_vllm_model/configs/local_vllm_model.yaml"
# fmt: off
_OF_BOTH = {
    "host", "port", "num_workers", "api_key", "default_headers", "extra_body", "sampling_overrides", "deadlines",
    "chat_template_kwargs", "routing", "endpoints_file", "requests_per_minute", "tokens_per_minute",
    "return_token_id_information", "is_responses_native", "uses_reasoning_parser", "uses_interleaved_reasoning",
    "preserve_reasoning_in_assistant_content", "replace_developer_role_with_system", "sequential_reasoning_allowed",
}
SETTINGS = _OF_BOTH | {
    "num_replicas", "engine_ports", "env_vars", "executable", "hf_home", "log_dir", "start_timeout_s", "backoff_s",
    "restarts", "hang_s",
}
"""Keys of the short form that are the server's own; all others are arguments of the engine."""
# fmt: on


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
        own = {"model": name} | {key: value for key, value in short.items() if key in _OF_BOTH}
        return merge(merge(read_yaml(_RUNNING), _policy("vllm_model", own)), {**defaults, **rest})
    settings = {key: arguments.pop(key) for key in short if key in SETTINGS}
    own = {"model": name, "api_key": "EMPTY", **settings, "engine_args": arguments}
    full = merge(read_yaml(_STARTED), _policy("local_vllm_model", own))
    return merge(full, rest)


def _policy(implementation: str, settings: Json) -> Json:
    return {POLICY: {"responses_api_models": {implementation: settings}}}
