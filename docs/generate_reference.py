"""Writes docs/reference from the code, so that it cannot say anything else: `make docs`."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from nemo_gym_lite import errors
from nemo_gym_lite.agents.simple_agent import SimpleAgentConfig
from nemo_gym_lite.base_resources_server import BaseResourcesServerConfig, SimpleResourcesServer
from nemo_gym_lite.cli.aggregate_rollouts import AggregateOptions
from nemo_gym_lite.cli.commands import COMMANDS as TABLE
from nemo_gym_lite.cli.dump_config import DumpOptions
from nemo_gym_lite.cli.e2e_collect_rollouts import WholeOptions
from nemo_gym_lite.cli.help import HelpOptions
from nemo_gym_lite.cli.init_resources_server import InitOptions
from nemo_gym_lite.cli.list import ListOptions
from nemo_gym_lite.cli.make_tasks import MakeTasksOptions
from nemo_gym_lite.cli.materialize_prompts import PromptOptions
from nemo_gym_lite.cli.prepare_data import PrepareOptions
from nemo_gym_lite.cli.reward_profile import ProfileOptions
from nemo_gym_lite.cli.run import RunOptions
from nemo_gym_lite.cli.status import StatusOptions
from nemo_gym_lite.cli.test import OneTestOptions
from nemo_gym_lite.cli.test_all import AllTestOptions
from nemo_gym_lite.cli.validate import ValidateOptions
from nemo_gym_lite.cli.version import VersionOptions
from nemo_gym_lite.config_types import DatasetConfig, Deadlines, Domain, HeadServerConfig, VerifyPool
from nemo_gym_lite.rollouts.estimate import EstimateOptions
from nemo_gym_lite.rollouts.manifest import Manifest
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.verify_options import VerifyOptions
from nemo_gym_lite.routed_model import RoutingConfig
from nemo_gym_lite.training.options import ExportOptions
from responses_api_agents.gymnasium_agent.app import GymnasiumAgentConfig
from responses_api_models.azure_openai_model.app import AzureOpenAIModelConfig
from responses_api_models.local_vllm_model.app import LocalVLLMModelConfig
from responses_api_models.openai_model.app import OpenAIModelConfig
from responses_api_models.simulated_model.settings import EngineSettings, Faults, Latency, Limits
from responses_api_models.vllm_model.app import VLLMModelConfig

FOLDER = Path(__file__).parent / "reference"
NOTICE = "<!-- written by docs/generate_reference.py; change the code and run `make docs` -->\n"
COMMANDS: dict[str, type[BaseModel]] = {
    "ng_collect_rollouts": CollectOptions,
    "ng_aggregate_rollouts": AggregateOptions,
    "ng_verify_rollouts": VerifyOptions,
    "ng_run": RunOptions,
    "ng_status": StatusOptions,
    "ng_dump_config": DumpOptions,
    "ng_estimate_cost": EstimateOptions,
    "ng_e2e_collect_rollouts": WholeOptions,
    "ng_reward_profile": ProfileOptions,
    "ng_export_rollouts": ExportOptions,
    "ng_prepare_data": PrepareOptions,
    "ng_materialize_prompts": PromptOptions,
    "ng_make_tasks": MakeTasksOptions,
    "ng_init_resources_server": InitOptions,
    "ng_test": OneTestOptions,
    "ng_test_all": AllTestOptions,
    "ng_list": ListOptions,
    "ng_validate": ValidateOptions,
    "ng_help": HelpOptions,
    "ng_version": VersionOptions,
}
OF_ANOTHER = {"ng_e2e_collect_rollouts": CollectOptions}
"""Commands that take all options of another one, which are told there."""
MODELS: dict[str, type[BaseModel]] = {
    "vllm_model": VLLMModelConfig,
    "openai_model": OpenAIModelConfig,
    "azure_openai_model": AzureOpenAIModelConfig,
}
AUTHORS_METHODS = (
    "verify",
    "seed_session",
    "setup_webserver",
    "compute_metrics",
    "get_key_metrics",
    "aggregate_metrics",
)
EVERY_SERVERS = {"host", "port", "num_workers", "entrypoint", "domain", "name"}
"""Settings of every server's block, told once."""


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    written = {
        "commands.md": commands_page(),
        "configuration.md": configuration_page(),
        "environments.md": environments_page(),
        "files.md": files_page(),
        "errors.md": errors_page(),
    }
    titles = {name: text.splitlines()[0].removeprefix("# ") for name, text in written.items()}
    index = "".join(f"- [{title}]({name})\n" for name, title in titles.items())
    written["README.md"] = f"# Reference\n\nGenerated from the code by `make docs`.\n\n{index}"
    return {name: f"{NOTICE}\n{text.rstrip()}\n" for name, text in written.items()}


def commands_page() -> str:
    """Options of the commands."""
    parts = ["# Commands\n", _OPTIONS, "| command | the same | what it does |", "|---|---|---|"]
    parts += [f"| [`{each.script}`](#{each.script}) | `gym {each.spelled}` | {each.purpose} |" for each in TABLE]
    parts.append(
        "\n`ng` is `gym`, and each `ng_X` is `nemo_gym_X`, too. `gym X --help` lists the flags of that spelling.\n"
    )
    for command, options in COMMANDS.items():
        parts += [f"## {command}\n", f"{_summary(options)}\n"]
        other = OF_ANOTHER.get(command)
        told = {name for name, field in other.model_fields.items() if not field.is_required()} if other else set()
        if options.model_fields.keys() - told:
            parts.append(_table(options, leave_out=told))
    return "\n".join(parts)


def configuration_page() -> str:
    """Blocks of the configuration files."""
    parts = ["# Configuration\n", _BLOCK, "## Deadlines\n", _summary(Deadlines) + "\n", _table(Deadlines)]
    parts += ["## Head server\n", "The block `head_server`.\n", _table(HeadServerConfig)]
    parts += ["## Data files of an agent\n", "Entries of `datasets`.\n", _table(DatasetConfig)]
    for name, agent in {"simple_agent": SimpleAgentConfig, "gymnasium_agent": GymnasiumAgentConfig}.items():
        parts += [f"## Agent `{name}`\n", _table(agent, leave_out=EVERY_SERVERS)]
    for name, model in MODELS.items():
        parts += [f"## Model `{name}`\n", _table(model, leave_out=EVERY_SERVERS)]
    known = set(VLLMModelConfig.model_fields) - {"base_url"}
    parts += ["## Model `local_vllm_model`\n", "All settings of `vllm_model`, and:\n"]
    parts.append(_table(LocalVLLMModelConfig, leave_out=EVERY_SERVERS | known))
    parts += ["## Routing of a model\n", f"{_summary(RoutingConfig)}\n", _table(RoutingConfig)]
    parts += [
        "## Model `simulated_model`\n",
        "All settings of `vllm_model` but `base_url` and `is_responses_native`, and `engine`:\n",
        _table(EngineSettings),
        "### Latency of the engine\n",
        _table(Latency),
        "### Faults of the engine\n",
        _table(Faults),
        "### Limits of the engine\n",
        _table(Limits),
    ]
    return "\n".join(parts)


def environments_page() -> str:
    """What an environment may define."""
    parts = [
        "# Environments\n",
        f"`nemo_gym_lite.base_resources_server.SimpleResourcesServer`: {_summary(SimpleResourcesServer)}\n",
    ]
    for name in AUTHORS_METHODS:
        member = getattr(SimpleResourcesServer, name)
        signature = re.sub(r"\w+\.", "", str(inspect.signature(member)))
        parts.append(f"### `{name}{signature}`\n\n{inspect.getdoc(member)}\n")
    parts += ["## Settings\n", _table(BaseResourcesServerConfig, leave_out=EVERY_SERVERS)]
    parts += ["### Processes for checks\n", f"`verify_pool`: {_summary(VerifyPool)}\n", _table(VerifyPool)]
    return "\n".join(parts)


def files_page() -> str:
    """Files of an output."""
    return "\n".join(["# Files of an output\n", _FILES, "## The manifest `X_run.json`\n", _table(Manifest)])


def errors_page() -> str:
    """The error classes and the classes of failures."""
    tree = inspect.cleandoc(errors.__doc__ or "")
    parts = ["# Errors\n", tree, "\n## Failures of a rollout\n"]
    parts.append(f"{inspect.getdoc(errors.FailedCallError)}\n")
    return "\n".join(parts)


def _table(model: type[BaseModel], leave_out: set[str] | None = None) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field, owner in _fields(model):
        if name not in (leave_out or ()):
            cells = [f"`{name}`", f"`{_type(field.annotation)}`", _default(field), _meaning(name, field, owner)]
            rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        owner = next(base for base in model.__mro__ if name in vars(base).get("__annotations__", {}))
        yield name, field, owner


def _meaning(name: str, field: FieldInfo, owner: type[BaseModel]) -> str:
    text = field.description or _attribute_docs(owner).get(name, "") or _listed_attributes(owner).get(name, "")
    alias = field.validation_alias
    others = [each for each in alias.choices if each != name] if isinstance(alias, AliasChoices) else []
    return text + (f" (alias: {', '.join(map(str, others))})" if others and "alias" not in text else "")


def _attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """Docstrings that stand under a class's fields."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            docs[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value))
    return docs


def _listed_attributes(model: type[BaseModel]) -> dict[str, str]:
    """Fields that the class's own docstring explains under `Attributes:`."""
    _, _, listed = (inspect.getdoc(model) or "").partition("Attributes:\n")
    lines = (line.strip().partition(": ") for line in listed.splitlines())
    return {name: text for name, _, text in lines if text}


def _type(kind: Any) -> str:
    """A type as YAML's users would say it: no bounds, `null` for None."""
    arguments = get_args(kind)
    match get_origin(kind):
        case None:
            return "null" if kind is NoneType else getattr(kind, "WRITTEN", str(getattr(kind, "__name__", kind)))
        case origin if origin is Annotated:
            return _type(arguments[0])
        case origin if origin is Literal:
            return " | ".join(map(str, arguments))
        case origin if origin in {Union, UnionType}:
            return " | ".join(map(_type, arguments))
        case origin:
            inner = ", ".join("..." if each is ... else _type(each) for each in arguments)
            return f"{origin.__name__}[{inner}]"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    value = str(value) if isinstance(value, Path) else value
    return f"`{value!r}`".replace("None", "null").replace("True", "true").replace("False", "false")


def _summary(thing: type) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


_BLOCK = f"""## A server's block

```yaml
instance_name:             # unique; others refer to it by this name
  resources_servers:       # or responses_api_models, responses_api_agents
    implementation:        # the folder resources_servers/implementation/
      entrypoint: app.py
      domain: math         # {", ".join(Domain)}
      placement: near      # or far; left out, the default of its kind
      host: 127.0.0.1      # chosen if left out
      port: 12345          # chosen if left out
      # and the implementation's own settings
```

A reference to another server is a field with `type` (one of the three kinds) and `name`.

Files are merged in the order of `config_paths`; a file may list `config_paths` of its own, which it then overrides.
`env.yaml` of the working directory overrides the files, and the command line overrides both. `${{key}}` and
`${{oc.env:VARIABLE,default}}` are replaced, `???` must be given a value. `_inherit_from: path` moves another block
here, `_copy: path` copies it, `_delete_key: "a, b"` removes keys.
"""

_OPTIONS = """Options are written `+key=value`; `++key=value` means the same. Values are numbers, `true`, `false`,
`null`, `[lists]`, `{mappings: too}` and `'text'`. Every command also takes `+config_paths=[...]`, `+head_server.port=`
and overrides of the configuration's own keys (`++judge_model.responses_api_models.vllm_model.model=NAME`), and prints
its options with `--help`. Without a `+`, a key must be an option or already be in the files; `~key` takes one out.

Tables, configurations and help go to stdout, progress, results' names, warnings and errors to stderr.

| exit code | meaning |
|---|---|
| 0 | done; for `ng_run`: stopped by Ctrl-C or SIGTERM; for `ng_status`: whether servers run or not |
| 1 | a server did not start, an output cannot be used, or `ng_test_all`: tests failed |
| 2 | wrong usage or configuration; nothing was started, written or deleted |
| 3 | finished, and some rollouts failed; `ng_aggregate_rollouts`: some are missing |
| 4 | `ng_collect_rollouts` was stopped by a budget; the same command goes on as soon as that allows |
| 130 | interrupted; the same command goes on |

`ng_test` ends with the exit code of pytest, or with 2 where the tests cannot be run.
"""

_FILES = """All are named after `+output_jsonl_fpath=X.jsonl`.

| file | content |
|---|---|
| `X.jsonl` | one line for each scored rollout, in the order in which they finished; only appended to |
| `X_failures.jsonl` | one line for each failed attempt: the row, what was played, `_ng_failure_*` |
| `X_aggregate_metrics.json` | for each agent its metrics, over all rollouts and for each task |
| `X_run.json` | what was asked, what came of it and what it cost, and speed over time |
"""


def main() -> int:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
