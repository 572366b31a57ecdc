"""The configuration as NeMo Gym's import path has it: names of row fields, and the one process-wide accessor.

Our own code is handed its configuration. The accessor is for environments that ask for it themselves.
"""

import os
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.row_fields import ATTEMPT_INDEX, ROLLOUT_INDEX, TASK_INDEX
from nemo_gym_lite.serving.client import get_first_server_config_dict
from nemo_gym_lite.serving.run_files import CONFIG_FILE_VARIABLE

__all__ = [
    "AGENT_REF_KEY_NAME",
    "ATTEMPT_INDEX_KEY_NAME",
    "CONFIG_PATHS_KEY_NAME",
    "HEAD_SERVER_KEY_NAME",
    "RESPONSES_CREATE_PARAMS_KEY_NAME",
    "RESPONSE_KEY_NAME",
    "ROLLOUT_ID_KEY_NAME",
    "ROLLOUT_INDEX_KEY_NAME",
    "SKILLS_REF_KEY_NAME",
    "TASK_INDEX_KEY_NAME",
    "GlobalConfigDictParser",
    "GlobalConfigDictParserConfig",
    "get_first_server_config_dict",
    "get_global_config_dict",
    "maybe_get_global_config_dict",
    "set_global_config_dict",
]

TASK_INDEX_KEY_NAME = TASK_INDEX
ROLLOUT_INDEX_KEY_NAME = ROLLOUT_INDEX
ATTEMPT_INDEX_KEY_NAME = ATTEMPT_INDEX
ROLLOUT_ID_KEY_NAME = "_ng_rollout_id"
RESPONSES_CREATE_PARAMS_KEY_NAME = "responses_create_params"
RESPONSE_KEY_NAME = "response"
AGENT_REF_KEY_NAME = "agent_ref"
SKILLS_REF_KEY_NAME = "skills_ref"
CONFIG_PATHS_KEY_NAME = "config_paths"
HEAD_SERVER_KEY_NAME = "head_server"

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
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    dotenv_path: Path | None = None
    initial_global_config_dict: DictConfig | Json | None = None
    skip_load_from_cli: bool = False
    skip_load_from_dotenv: bool = False
    hide_secrets: bool = False


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
            environment = read_yaml(config.dotenv_path)
        initial = config.initial_global_config_dict
        if isinstance(initial, DictConfig):
            initial = dict(OmegaConf.to_container(initial, resolve=False))  # type: ignore[arg-type]
        argv = [] if config.skip_load_from_cli else sys.argv[1:]
        tree = compose(argv, _NoOptions, needs_servers=False, initial=initial, environment=environment).tree
        return OmegaConf.create(mask_secrets(tree)) if config.hide_secrets else tree


def set_global_config_dict(tree: DictConfig) -> None:
    """Make `tree` what this process's `get_global_config_dict` returns."""
    _current[:] = [tree]


def maybe_get_global_config_dict() -> DictConfig | None:
    """Return the process's configuration if no command line need be parsed: set, or a server's own."""
    if not _current and (path := os.environ.get(CONFIG_FILE_VARIABLE)):
        set_global_config_dict(OmegaConf.create(read_yaml(Path(path))))
    return _current[0] if _current else None


def get_global_config_dict() -> DictConfig:
    """Return the process's configuration, composed from its command line if need be.

    Raises:
        ConfigError: It cannot be composed.
    """
    if (tree := maybe_get_global_config_dict()) is None:
        set_global_config_dict(GlobalConfigDictParser().parse())
    return tree or _current[0]
