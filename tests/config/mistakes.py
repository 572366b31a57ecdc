"""Mistakes in files, on the command line and in values, as data."""

from dataclasses import dataclass, field

from nemo_gym_lite.errors import (
    ConfigError,
    ConfigInterpolationError,
    ConfigMissingValuesError,
    ConfigPathNotFoundError,
    InheritPathNotFoundError,
    MalformedConfigPathsError,
)

FILES = "+config_paths=[weather.yaml,model.yaml]"
MORE = "+config_paths=[weather.yaml,model.yaml,more.yaml]"


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


MISTAKES = {
    "a token that is not UTF-8": Mistake(
        (FILES, "+output_jsonl_fpath=caf\udce9.jsonl"),
        ConfigError,
        ("command line", "caf\\xe9.jsonl"),
        "LC_ALL=C.UTF-8",
    ),
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
        (MORE,), ConfigError, ("more.yaml", "a list", "not a mapping"), "name: value", {"more.yaml": "- a"}
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
    "a deadline that is none": Mistake(
        (FILES, "+deadlines.call=5"), ConfigError, ("deadlines.call", "5"), "did you mean `call_s`"
    ),
    "a secret under a misspelt name": Mistake(
        (FILES, "+polcy_api_key=sk-of-the-user"),
        ConfigError,
        ("`+polcy_api_key=****`",),
        "did you mean `policy_api_key`",
    ),
    "a secret with a quote left open": Mistake(
        (FILES, "+policy_api_key='sk-of-the-user"), ConfigError, ("`+policy_api_key=****`",), "close brackets"
    ),
    "a secret with a key below it": Mistake(
        (FILES, "+policy_api_key.x=1"), ConfigError, ("`policy_api_key` is '****'",), "another value"
    ),
    "a secret without a space after its colon": Mistake(
        (FILES,),
        ConfigError,
        ("env.yaml", "single value"),
        "space after",
        {"env.yaml": "policy_api_key:sk-of-the-user"},
    ),
    "a key that is a number": Mistake((MORE,), ConfigError, ("more.yaml", "1"), "quotes", {"more.yaml": "1: x"}),
    "a key that is empty": Mistake(
        (MORE,), ConfigError, ("more.yaml, line 1, column 5", "no key"), "correct", {"more.yaml": "x: {~: 1}"}
    ),
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
}
