"""Names that have a meaning at the top level of a configuration and are never servers."""

from typing import get_args

from nemo_gym_lite.config_types import ServerType

SERVER_TYPES: tuple[str, ...] = get_args(ServerType)
"""The three kinds of servers, named as their folders are."""

# fmt: off
RESERVED_KEYS = frozenset({
    "config_paths", "entrypoint", "default_host", "head_server", "disallowed_ports", "head_server_deps",
    "python_version", "pip_install_verbose", "use_absolute_ip", "uv_pip_set_python", "skip_venv_if_present",
    "hf_token", "ray_head_node_address", "port_range_low", "port_range_high", "dry_run",
    "model_endpoint_readiness_timeout_seconds", "allow_openai_version_skew", "uv_cache_dir", "uv_venv_dir",
    "results_dir", "cache_dir", "_inherit_from", "_copy", "_delete_key", "nemo_gym_log_dir", "verbose",
    "json", "query", "observability_enabled", "model_call_capture_dir", "token_id_capture",
    "component_name", "skip_verification", "skip_verification_reward",
})
"""Keys that a configuration may hold beside its servers; a mapping under one of them is never a server."""

KNOWN_GLOBALS = frozenset({
    "error_on_almost_servers", "uvicorn_timeout_worker_healthcheck", "uvicorn_logging_show_200_ok",
    "profiling_enabled", "profiling_results_dirpath", "global_aiohttp_connector_limit",
    "global_aiohttp_connector_limit_per_host", "global_aiohttp_client_request_debug",
    "global_aiohttp_tcp_keepalive_idle_seconds", "global_aiohttp_tcp_keepalive_interval_seconds",
    "global_aiohttp_tcp_keepalive_probes", "wandb_project", "wandb_name", "wandb_api_key",
    "mlflow_tracking_uri", "mlflow_tracking_token", "mlflow_experiment_name", "mlflow_run_name",
    "policy_base_url", "policy_api_key", "policy_model_name", "judge_base_url", "judge_api_key",
    "judge_model_name", "isolate", "use_installed_nemo_gym",
})
"""Further keys that parts of a configuration read by interpolation, or that NeMo Gym knows."""
# fmt: on

FREE_PREFIXES = ("policy_", "judge_")
"""Keys with these prefixes may always be set on the command line: model configs interpolate them."""
