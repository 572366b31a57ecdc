"""The settings of an engine that we start ourselves, as a process of its own or in the collector."""

import dataclasses
from typing import Any, ClassVar

from pydantic import AliasChoices, Field, model_validator

from nemo_gym_lite.clients import Json
from nemo_gym_lite.dialects.settings import DialectSettings
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.routed_model import BaseUrls
from responses_api_models.local_vllm_model.replica import Patience
from responses_api_models.vllm_model.app import VLLMModelConfig


class EngineConfig(VLLMModelConfig):
    """The settings of `vllm_model`, and those of an engine."""

    kept_for_nemo_gym: ClassVar[frozenset[str]] = VLLMModelConfig.kept_for_nemo_gym | {
        *("vllm_serve_kwargs", "vllm_serve_env_vars", "ray_worker_py_executable", "show_vllm_engine_stats", "debug")
    }

    base_url: BaseUrls = Field(default_factory=list, description="engines that run already; none is started then")
    engine_args: Json = Field(
        default_factory=dict,
        validation_alias=AliasChoices("engine_args", "vllm_serve_kwargs"),
        description="arguments of `vllm serve` by name",
    )
    env_vars: dict[str, str] = Field(
        default_factory=dict,
        validation_alias=AliasChoices("env_vars", "vllm_serve_env_vars"),
        repr=False,
        description="environment variables of the engines",
    )
    hf_home: str | None = Field(default=None, description="folder of downloaded models, the engines' HF_HOME")
    log_dir: str = Field(default="results/vllm_logs", description="folder of the engines' log files")
    start_timeout_s: float = Field(default=1800.0, gt=0, description="seconds until every engine must be ready")
    backoff_s: float = Field(default=1.0, gt=0, description="seconds before the first restart; doubles with each")
    restarts: int = Field(default=5, ge=0, description="crashes in a row after which an engine stays down")

    @model_validator(mode="before")
    @classmethod
    def _write_variables_as_text(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        variables = values.get("env_vars") or values.get("vllm_serve_env_vars") or {}
        if not isinstance(variables, dict) or any(isinstance(value, dict | list) for value in variables.values()):
            raise ConfigError(
                f"server `{values.get('name')}`: env_vars is {variables!r}, not names with texts",
                "write `env_vars: {HF_HUB_OFFLINE: 1}`",
            )
        given = {key: value for key, value in values.items() if key not in {"env_vars", "vllm_serve_env_vars"}}
        return given | {"env_vars": {key: str(value) for key, value in variables.items() if value is not None}}

    def patience(self) -> Patience:
        """How the engines are waited for and started again."""
        return Patience(start_s=self.start_timeout_s, backoff_s=self.backoff_s, restarts=self.restarts)

    @property
    def served_name(self) -> str:
        """The name that requests give the model."""
        name = self.engine_args.get("served_model_name", self.engine_args.get("served-model-name"))
        return str(name[0] if isinstance(name, list) else name or self.model)

    def dialect(self) -> DialectSettings:
        """The part that the translation needs."""
        return dataclasses.replace(super().dialect(), model=self.served_name)
