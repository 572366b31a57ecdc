"""The configuration as NeMo Gym's import path has it: names of keys and fields, and the one process-wide accessor.

Our own code is handed its configuration. The accessor is for environments that ask for it themselves. What composes
a configuration from files is imported when somebody asks for that, because few processes do.
"""

import os
import sys
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.interpolation import literal
from nemo_gym_lite.config.ports import LOCAL_HOST, PORT_RANGE, free_port
from nemo_gym_lite.config_types import DEFAULT_HEAD_PORT
from nemo_gym_lite.errors import ServerRefNotFoundError
from nemo_gym_lite.row_fields import ATTEMPT_INDEX, ROLLOUT_ID, ROLLOUT_INDEX, TASK_INDEX
from nemo_gym_lite.serving.run_files import CONFIG_FILE_VARIABLE, INSTANCE_VARIABLE

TASK_INDEX_KEY_NAME = TASK_INDEX
ROLLOUT_INDEX_KEY_NAME = ROLLOUT_INDEX
ATTEMPT_INDEX_KEY_NAME = ATTEMPT_INDEX
ROLLOUT_ID_KEY_NAME = ROLLOUT_ID
RESPONSES_CREATE_PARAMS_KEY_NAME = "responses_create_params"
RESPONSE_KEY_NAME = "response"
AGENT_REF_KEY_NAME = "agent_ref"
SKILLS_REF_KEY_NAME = "skills_ref"

CONFIG_PATHS_KEY_NAME = "config_paths"
HEAD_SERVER_KEY_NAME = "head_server"
DISALLOWED_PORTS_KEY_NAME = "disallowed_ports"
PORT_RANGE_LOW_KEY_NAME = "port_range_low"
PORT_RANGE_HIGH_KEY_NAME = "port_range_high"
HF_TOKEN_KEY_NAME = "hf_token"  # noqa: S105 - a key's name
RESULTS_DIR_KEY_NAME = "results_dir"
CACHE_DIR_KEY_NAME = "cache_dir"
OBSERVABILITY_ENABLED_KEY_NAME = "observability_enabled"
TOKEN_ID_CAPTURE_BLOCK = "token_id_capture"  # noqa: S105 - a key's name

NEMO_GYM_CONFIG_DICT_ENV_VAR_NAME = "NEMO_GYM_CONFIG_DICT"
NEMO_GYM_CONFIG_PATH_ENV_VAR_NAME = INSTANCE_VARIABLE
DEFAULT_HEAD_SERVER_PORT = DEFAULT_HEAD_PORT

_current: list[DictConfig] = []
"""The process's configuration, once somebody set it or asked for it."""


class GlobalConfigDictParserConfig(BaseModel):
    """Which sources `GlobalConfigDictParser` reads.

    Attributes:
        dotenv_path: A file to read instead of the `env.yaml` that the search roots hold.
        initial_global_config_dict: Settings above `env.yaml` and below the command line.
        skip_load_from_cli: Do not read the command line of this process.
        skip_load_from_dotenv: Do not read `env.yaml`.
        hide_secrets: Mask secrets in the result.
        offline: Kept for compatibility; composing a configuration asks nobody.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    dotenv_path: Path | None = None
    initial_global_config_dict: DictConfig | Json | None = None
    skip_load_from_cli: bool = False
    skip_load_from_dotenv: bool = False
    hide_secrets: bool = False
    offline: bool = False


class _NoOptions(BaseModel):
    """The accessor has no options of its own."""


class GlobalConfigDictParser:
    """Composes a configuration for library callers."""

    def parse(self, config: GlobalConfigDictParserConfig | None = None) -> DictConfig:
        """Return the composed tree.

        Raises:
            ConfigError: It cannot be composed.
        """
        config = config or GlobalConfigDictParserConfig()
        environment: Json | None = {} if config.skip_load_from_dotenv else None
        if config.dotenv_path and not config.skip_load_from_dotenv:
            environment = import_module("nemo_gym_lite.config.files").read_yaml(config.dotenv_path)
        initial = config.initial_global_config_dict
        if isinstance(initial, DictConfig):
            initial = dict(OmegaConf.to_container(initial, resolve=False))  # type: ignore[arg-type]
        argv = [] if config.skip_load_from_cli else sys.argv[1:]
        compose = import_module("nemo_gym_lite.config.compose").compose
        tree: DictConfig = compose(argv, _NoOptions, needs_servers=False, initial=initial, environment=environment).tree
        if config.hide_secrets:
            tree = OmegaConf.create(import_module("nemo_gym_lite.config.masking").mask_secrets(tree))
        return tree


def set_global_config_dict(tree: DictConfig) -> None:
    """Make `tree` what this process's `get_global_config_dict` returns."""
    _current[:] = [tree]


def maybe_get_global_config_dict() -> DictConfig | None:
    """Return the process's configuration if no command line need be parsed: set, or a server's own."""
    if not _current:
        if path := os.environ.get(CONFIG_FILE_VARIABLE):
            set_global_config_dict(as_tree(orjson.loads(Path(path).read_bytes())))
        elif text := os.environ.get(NEMO_GYM_CONFIG_DICT_ENV_VAR_NAME):
            set_global_config_dict(OmegaConf.create(text))  # type: ignore[arg-type]  # YAML of a mapping
    return _current[0] if _current else None


def is_launched() -> bool:
    """Whether whoever started this process left it the configuration of a run, addresses included."""
    return CONFIG_FILE_VARIABLE in os.environ or NEMO_GYM_CONFIG_DICT_ENV_VAR_NAME in os.environ


def get_global_config_dict(
    global_config_dict_parser_config: GlobalConfigDictParserConfig | None = None,
    global_config_dict_parser_cls: type[GlobalConfigDictParser] = GlobalConfigDictParser,
) -> DictConfig:
    """Return the process's configuration, composed from its command line if need be.

    Args:
        global_config_dict_parser_config: Which sources are read, if there is no configuration yet.
        global_config_dict_parser_cls: What composes it then.

    Raises:
        ConfigError: It cannot be composed.
    """
    if (tree := maybe_get_global_config_dict()) is None:
        tree = global_config_dict_parser_cls().parse(global_config_dict_parser_config)
        set_global_config_dict(tree)
    return tree


def as_tree(plain: Any) -> Any:
    """A resolved configuration as OmegaConf's tree, which environments expect; anything but a mapping as it is."""
    return OmegaConf.create(literal(plain)) if isinstance(plain, dict) else plain


def get_first_server_config_dict(global_config_dict: Any, top_level_path: str) -> Any:
    """The configuration block two levels under an instance's name.

    Raises:
        ServerRefNotFoundError: There is no server of that name.
    """
    if top_level_path not in global_config_dict:
        raise ServerRefNotFoundError(f"no server `{top_level_path}` is configured")
    server_type = next(iter(global_config_dict[top_level_path].values()))
    return next(iter(server_type.values()))


def get_hf_token() -> str | None:
    """The configuration's `hf_token`."""
    token: str | None = get_global_config_dict().get(HF_TOKEN_KEY_NAME)
    return token


def find_open_port(disallowed_ports: Collection[int] | None = None) -> int:
    """A free port of this machine, from the configured range; somebody else may take it before its user does.

    Raises:
        ConfigError: None was found.
    """
    tree: Any = maybe_get_global_config_dict() or {}
    low, high = tree.get(PORT_RANGE_LOW_KEY_NAME), tree.get(PORT_RANGE_HIGH_KEY_NAME)
    return free_port(LOCAL_HOST, disallowed_ports or (), low or PORT_RANGE[0], high or PORT_RANGE[1])
