"""Every mistake that a user can make in the configuration ends in one clear message, and in nothing else."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from nemo_gym_lite.cli.common import run_command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.errors import (
    AlmostServerError,
    ConfigError,
    ConfigInterpolationError,
    ConfigMissingValuesError,
    ConfigPathNotFoundError,
    InheritPathNotFoundError,
    MalformedConfigPathsError,
    NoServerInstancesError,
    ServerRefNotFoundError,
)

FILES = "+config_paths=[weather.yaml,model.yaml]"
MORE = "+config_paths=[weather.yaml,model.yaml,more.yaml]"


class Options(BaseModel):
    """Options of a command that needs servers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int | None = Field(default=None, ge=0)
    agent_name: str = "weather_agent"
    responses_create_params: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Mistake:
    """What the user did, and what the message must hold.

    Attributes:
        argv: The command line.
        error: The class of the error.
        names: Texts that the message must contain: the place and the value.
        hint: Text that the hint must contain.
        files: Files of the user's folder, by name.
    """

    argv: tuple[str, ...]
    error: type[ConfigError]
    names: tuple[str, ...]
    hint: str
    files: dict[str, str] = field(default_factory=dict)


def server(fields, name="it", kind="resources_servers", implementation="weather"):
    return f"{name}: {{{kind}: {{{implementation}: {{{fields}}}}}}}"


MISTAKES = {
    "a file that is not there": Mistake(
        ("+config_paths=[wether.yaml]",), ConfigPathNotFoundError, ("`wether.yaml`", "command line"), "spelling"
    ),
    "a file that an included file names is not there": Mistake(
        ("+config_paths=[more.yaml]",),
        ConfigPathNotFoundError,
        ("`gone.yaml`", "more.yaml"),
        "spelling",
        {"more.yaml": "config_paths: [gone.yaml]"},
    ),
    "a folder instead of a file": Mistake(
        ("+config_paths=[resources_servers]",), ConfigPathNotFoundError, ("`resources_servers`",), "spelling"
    ),
    "config_paths that is a mapping": Mistake(
        ("+config_paths={a: b}",), MalformedConfigPathsError, ("{'a': 'b'}", "command line"), "[a.yaml,b.yaml]"
    ),
    "config_paths of a file with a number in it": Mistake(
        ("+config_paths=[more.yaml]",),
        MalformedConfigPathsError,
        ("more.yaml", "[1]"),
        "[a.yaml,b.yaml]",
        {"more.yaml": "config_paths: [1]"},
    ),
    "a bracket left open on the command line": Mistake(
        ("+config_paths=[weather.yaml",), ConfigError, ("`+config_paths=[weather.yaml`",), "close brackets"
    ),
    "a bracket left open in a file": Mistake(
        (MORE,), ConfigError, ("more.yaml, line 2, column 2",), "correct the YAML", {"more.yaml": "x: [1, 2\ny: 3\n"}
    ),
    "a tab in a file": Mistake(
        (MORE,), ConfigError, ("more.yaml, line 2, column 1",), "correct the YAML", {"more.yaml": "x:\n\ty: 1\n"}
    ),
    "a key given twice in a file": Mistake(
        (MORE,), ConfigError, ("more.yaml, line 2", "`x`", "twice"), "correct the YAML", {"more.yaml": "x: 1\nx: 2\n"}
    ),
    "a file that holds a list": Mistake(
        (MORE,), ConfigError, ("more.yaml", "['a']", "not a mapping"), "name: value", {"more.yaml": "- a"}
    ),
    "an env.yaml that is no YAML": Mistake(
        (FILES,),
        ConfigError,
        ("env.yaml, line 2, column 1", "begins in line 1"),
        "correct the YAML",
        {"env.yaml": "policy_base_url: [a: b"},
    ),
    "an env.yaml that is not text": Mistake(
        (FILES,), ConfigError, ("env.yaml",), "UTF-8", {"env.yaml": "\udcff\udcfe"}
    ),
    "a path instead of an option": Mistake((FILES, "tasks.jsonl"), ConfigError, ("`tasks.jsonl`",), "+key=value"),
    "a flag of another tool": Mistake((FILES, "--limit=5"), ConfigError, ("`--limit=5`",), "+key=value"),
    "an option that nobody knows": Mistake((FILES, "+limt=5"), ConfigError, ("`+limt=5`",), "did you mean `limit`"),
    "a key of the files misspelt": Mistake(
        (FILES, "++wether.resource=1"), ConfigError, ("`++wether.resource=1`",), "did you mean `weather`"
    ),
    "a key without a plus": Mistake((FILES, "nothing.deep=1"), ConfigError, ("`nothing.deep=1`",), "--help"),
    "a key of a server without a plus": Mistake(
        (FILES, "policy_model.responses_api_models.chat_model.bse_url=x"),
        ConfigError,
        ("no key", "chat_model.bse_url"),
        "did you mean `base_url`? to add it, write `+policy",
    ),
    "deleting what is not there": Mistake(
        (FILES, "~weather.nothing"), ConfigError, ("`~weather.nothing`",), "nothing to delete"
    ),
    "an option of the wrong type": Mistake((FILES, "+limit=ten"), ConfigError, ("limit", "integer", "'ten'"), "--help"),
    "an option out of range": Mistake((FILES, "+limit=-1"), ConfigError, ("limit", "greater", "-1"), "--help"),
    "None for null": Mistake((FILES, "+limit=None"), ConfigError, ("limit", "'None'"), "`null`"),
    "a value where a mapping belongs": Mistake(
        (FILES, "+responses_create_params=5"), ConfigError, ("responses_create_params", "got 5"), "--help"
    ),
    "values left open": Mistake(
        (MORE,),
        ConfigMissingValuesError,
        ("2 values", "unused.a", "unused.b[0].c"),
        "++unused.a=<value>",
        {"more.yaml": "unused:\n  a: ???\n  b:\n  - c: ???\n"},
    ),
    "an interpolation of a key that is not set": Mistake(
        (FILES,),
        ConfigInterpolationError,
        (
            "policy_model.responses_api_models.chat_model.base_url",
            "${policy_base_url}",
            "did you mean `policy_base_ur`",
        ),
        "env.yaml",
        {"env.yaml": "{policy_base_ur: http://x, policy_api_key: k}"},
    ),
    "an environment variable that is not set": Mistake(
        (MORE,),
        ConfigInterpolationError,
        ("x.y[0]", "GYM_TEST_NOT_SET"),
        "default",
        {"more.yaml": "x: {y: ['${oc.env:GYM_TEST_NOT_SET}']}"},
    ),
    "an interpolation left open": Mistake(
        (MORE,), ConfigInterpolationError, ("x.y", "'${a'"), "`${key}`", {"more.yaml": "x: {y: '${a'}"}
    ),
    "interpolations in a circle": Mistake(
        (MORE,), ConfigInterpolationError, ("x", "ecursive"), "", {"more.yaml": "{x: '${y}', y: '${x}'}"}
    ),
    "inheriting from nothing": Mistake(
        (MORE,),
        InheritPathNotFoundError,
        ("`x`", "`weather.resource_servers`"),
        "`resources_servers`",
        {"more.yaml": "x: {_inherit_from: weather.resource_servers}"},
    ),
    "inheriting in a circle": Mistake(
        (MORE,), ConfigError, ("circle", "`x"), "", {"more.yaml": "{x: {_copy: y}, y: {_copy: x}}"}
    ),
    "a server type misspelt": Mistake(
        (MORE,),
        AlmostServerError,
        ("it.resource_servers",),
        "correct",
        {"more.yaml": server("entrypoint: app.py", kind="resource_servers")},
    ),
    "a server without entrypoint": Mistake(
        (MORE,),
        AlmostServerError,
        ("it.resources_servers.weather.entrypoint",),
        "correct",
        {"more.yaml": server("x: 1")},
    ),
    "a server of a name that is nearly another's": Mistake(
        (FILES, "++wether.resources_servers.weather.x=1"), AlmostServerError, ("wether.",), "did you mean `weather`"
    ),
    "a port that is no port": Mistake(
        (MORE,),
        AlmostServerError,
        ("weather.port", "99999"),
        "correct",
        {"more.yaml": server("entrypoint: a, port: 99999")},
    ),
    "a domain that is none": Mistake(
        (MORE,),
        AlmostServerError,
        ("weather.domain", "'maths'", "'math'"),
        "correct",
        {"more.yaml": server("entrypoint: app.py, domain: maths")},
    ),
    "a placement that is none": Mistake(
        (MORE,),
        AlmostServerError,
        ("weather.placement", "'nearby'"),
        "correct",
        {"more.yaml": server("entrypoint: app.py, placement: nearby")},
    ),
    "two implementations under one server": Mistake(
        (MORE,),
        AlmostServerError,
        ("policy_model.responses_api_models", "chat_model, other_model"),
        "correct",
        {"more.yaml": "policy_model: {responses_api_models: {other_model: {entrypoint: app.py}}}"},
    ),
    "a reference to a server that is not there": Mistake(
        (MORE,),
        ServerRefNotFoundError,
        ("weather_agent.model_server", "`policy_modl`", "did you mean `policy_model`"),
        "config_paths",
        {"more.yaml": "weather_agent: {responses_api_agents: {looping_agent: {model_server: {name: policy_modl}}}}"},
    ),
    "a reference without the file of the model": Mistake(
        ("+config_paths=[weather.yaml]",),
        ServerRefNotFoundError,
        ("weather_agent.model_server", "`policy_model`", "none at all"),
        "config_paths",
    ),
    "a server whose code is nowhere": Mistake(
        (MORE,),
        ConfigError,
        ("`it`", "resources_servers/wether/app.py"),
        "did you mean `weather`",
        {"more.yaml": server("entrypoint: app.py", implementation="wether")},
    ),
    "an entrypoint that is not there": Mistake(
        (MORE,), ConfigError, ("`it`", "weather/main.py"), "app.py", {"more.yaml": server("entrypoint: main.py")}
    ),
    "one port for two servers": Mistake(
        (
            FILES,
            "++weather.resources_servers.weather.port=8123",
            "++policy_model.responses_api_models.chat_model.port=8123",
        ),
        ConfigError,
        ("8123", "`weather`", "`policy_model`"),
        "free one",
    ),
    "the head server's port for a server": Mistake(
        (FILES, "++weather.resources_servers.weather.port=11000"), ConfigError, ("11000", "`head_server`"), "free one"
    ),
    "a port range upside down": Mistake(
        (FILES, "+port_range_low=9000", "+port_range_high=8000"), ConfigError, ("9000", "8000"), "lower one first"
    ),
    "a key of the head server misspelt": Mistake(
        (FILES, "+head_server.prot=1"), ConfigError, ("head_server", "`prot`"), "did you mean `port`"
    ),
    "a head server that is a number": Mistake(
        (FILES, "+head_server=11001"), ConfigError, ("11001",), "head_server.port"
    ),
    "no servers at all": Mistake((), NoServerInstancesError, ("no server",), "+config_paths="),
    "files without servers": Mistake(
        ("+config_paths=[more.yaml]",), NoServerInstancesError, ("more.yaml",), "+config_paths=", {"more.yaml": "x: 1"}
    ),
    "an engine without an address": Mistake(
        ("+config_paths=[more.yaml]",),
        ConfigError,
        ("`vllm_model`", "llama", "`policy_base_url`"),
        "vllm serve llama --max-model-len 8192",
        {"more.yaml": "vllm_model: {model_name: llama, max_model_len: 8192}", "env.yaml": ""},
    ),
    "an engine without a model": Mistake(
        ("+config_paths=[more.yaml]",),
        ConfigError,
        ("`vllm_model`", "max_model_len"),
        "model_name",
        {"more.yaml": "vllm_model: {max_model_len: 8192}"},
    ),
}


@pytest.fixture(params=MISTAKES)
def mistake(request, project, tmp_path):
    made = MISTAKES[request.param]
    for name, text in made.files.items():
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return made


def test_a_mistake_is_named_with_its_place_and_a_hint(mistake):
    with pytest.raises(ConfigError) as caught:
        compose(mistake.argv, Options)

    assert type(caught.value) is mistake.error
    for name in mistake.names:
        assert name in caught.value.message
    assert mistake.hint in caught.value.hint
    assert caught.value.hint
    assert not caught.value.message.endswith(".")
    assert "sk-of-the-user" not in str(caught.value)


def test_a_mistake_ends_the_command_with_2_and_leaves_the_folder_alone(mistake, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    code = run_command(lambda: bool(compose(mistake.argv, Options)))

    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "\nhint: " in printed.err
    assert "Traceback" not in printed.err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("argv", [["+config_paths=[wether.yaml]"], [FILES, "+limt=5"], ["--config", "a.yaml"]])
def test_the_installed_command_behaves_so_too(project, tmp_path, argv):
    before = sorted(tmp_path.rglob("*"))

    done = subprocess.run(
        [sys.executable, "-m", "nemo_gym_lite.cli.dump_config", *argv], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
