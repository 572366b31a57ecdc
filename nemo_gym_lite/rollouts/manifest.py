"""`X_run.json`: what an output was begun with, so that a later run neither mixes nor loses anything unnoticed."""

import platform
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.masking import is_secret
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import write_json

_INCIDENTAL = frozenset(
    """
    host port entrypoint name num_workers placement datasets domain description verified verified_url value isolate
    routing deadlines endpoints_file max_concurrent_requests num_concurrent_requests requests_per_minute
    tokens_per_minute verify_pool engine_ports num_replicas executable log_dir start_timeout_s backoff_s restarts
    hang_s env_vars vllm_serve_env_vars hf_home
    tensor_parallel_size pipeline_parallel_size data_parallel_size api_server_count gpu_memory_utilization
    kv_cache_memory_bytes block_size swap_space cpu_offload_gb max_num_seqs max_num_batched_tokens enforce_eager
    enable_prefix_caching enable_chunked_prefill
    """.split()  # noqa: SIM905 - as a list it has a line for each word
)
"""Settings of a server, and arguments of an engine, that say where and how it runs, not what it answers: after an out
of memory they are lowered, and the run goes on."""

_NESTED = ("engine_args", "vllm_serve_kwargs")


class InputEntry(BaseModel, frozen=True):
    """One input that was played into an output."""

    path: str
    """Absolute path of the file."""
    digest: str
    """Hash of the rows played, to know the file again."""
    agent_name: str | None
    limit: int | None
    num_repeats: int | dict[str, int]
    tasks: int
    finished: bool = False
    """Whether a run went through all of it."""


class Manifest(BaseModel):
    """The record of an output."""

    schema_version: int = 1
    status: str = "running"
    """running, finished, interrupted (by a budget, too) or failed; a killed run's still says running."""
    begun: str
    ended: str | None = None
    asked: Json
    """What decides how rollouts come out, flat: agent, model, sampling, prompt."""
    inputs: list[InputEntry] = []
    counts: Json = {}
    timings: Json = {}
    tokens: Json = {}
    spent: Json = {}
    """Tokens and US dollars of all that output and sidecar hold, over all runs; null where a model has no price."""
    history: list[Json] = []
    """Speed over time of each run that wrote this output, in columns; see `rollouts/history.py`."""
    versions: Json = {}
    options: Json = {}
    config: Json = {}
    """The merged configuration, secrets masked."""

    def save(self, path: Path) -> None:
        """Replace the file; each run's history is one line of it, as nobody reads a thousand."""
        history = [orjson.Fragment(orjson.dumps(run)) for run in self.history]
        write_json(path, self.model_dump(exclude={"history"}) | {"history": history})

    def with_input(self, entry: InputEntry) -> list[InputEntry]:
        """The inputs so far with `entry` as the last; an earlier entry of the same rows is replaced."""
        return [known for known in self.inputs if known.digest != entry.digest] + [entry]


def load_manifest(path: Path) -> Manifest | None:
    """Read a manifest, or None where there is none or it cannot be read: a run must not fail for its diary."""
    try:
        return Manifest.model_validate(orjson.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Json:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; lists are values."""
    flat: Json = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def what_decides(settings: Mapping[str, Any]) -> Json:
    """The settings of a server that decide what it answers: neither addresses nor secrets."""
    return {
        name: what_decides(value) if name in _NESTED and isinstance(value, Mapping) else value
        for name, value in settings.items()
        if _decides(name)
    }


def _decides(name: str) -> bool:
    is_address_or_secret = name.endswith(("base_url", "api_key", "headers")) or is_secret(name)
    return name.replace("-", "_") not in _INCIDENTAL and not is_address_or_secret


def _still_decides(flat_name: str) -> bool:
    """Whether what an older version noted is what decides today, too."""
    kind, _, setting, *nested = [*flat_name.split("."), "", ""]
    return kind != "servers" or (_decides(setting) and (setting not in _NESTED or _decides(nested[0])))


def refuse_changes(before: Json, now: Json, output: Path) -> None:
    """Compare what an output was begun with to what is asked now.

    Raises:
        ConfigError: They differ; the message lists every difference.
    """
    known = {name: value for name, value in before.items() if _still_decides(name)}
    if lines := differences(known, now):
        raise ConfigError(
            f"{output} was begun with other settings, so its rollouts would not be comparable\n{lines}",
            "go back to the earlier settings, or give this run another output_jsonl_fpath; +accept_changes=true "
            "appends all the same, +overwrite=true deletes what is there",
        )


def differences(before: Json, now: Json) -> str:
    """What changed between two flat mappings, a line each; empty if nothing did."""
    names = sorted(name for name in before.keys() | now.keys() if _said(before, name) != _said(now, name))
    return "\n".join(f"  {name}: {_shown(before, name)} -> {_shown(now, name)}" for name in names)


def _said(asked: Json, name: str) -> Any:
    value = asked.get(name)
    return None if value == {} else value  # an empty mapping says nothing


def _shown(asked: Json, name: str) -> str:
    value = _said(asked, name)
    return "not set" if value is None else orjson.dumps(value).decode()


def versions(packages: Iterable[str] = ("nemo-gym-lite", "aiohttp", "fastapi", "pydantic", "orjson")) -> Json:
    """Versions of Python, the system and the packages that matter."""
    found: Json = {"python": sys.version.split()[0], "system": platform.platform()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def now() -> str:
    """The time of day, in UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
