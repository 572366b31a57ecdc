"""Which source of the configuration wins, and where files are looked for."""

import os
from pathlib import Path

import pytest
from pydantic import BaseModel

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.errors import ConfigError


class NoOptions(BaseModel):
    """A command without options."""


def tree(*argv, **keywords):
    return compose(argv, NoOptions, needs_servers=False, **keywords).tree


def test_a_later_file_wins_over_an_earlier_one(write):
    write("a.yaml", "{x: {first: a, both: a}}")
    write("b.yaml", "{x: {second: b, both: b}}")

    assert tree("+config_paths=[a.yaml,b.yaml]").x == {"first": "a", "second": "b", "both": "b"}
    assert tree("+config_paths=[b.yaml,a.yaml]").x.both == "a"


def test_lists_replace_and_do_not_grow(write):
    write("a.yaml", "x: [1, 2, 3]")
    write("b.yaml", "x: [4]")

    assert tree("+config_paths=[a.yaml,b.yaml]").x == [4]


def test_env_yaml_wins_over_files_and_the_command_line_over_both(write):
    write("a.yaml", "{x: file, y: file, z: file}")
    write("env.yaml", "{y: env, z: env}")

    found = tree("+config_paths=[a.yaml]", "++z=command line")

    assert (found.x, found.y, found.z) == ("file", "env", "command line")


def test_a_library_callers_settings_lie_between_env_yaml_and_the_command_line(write):
    write("env.yaml", "{policy_a: env, policy_b: env, policy_c: env}")

    found = tree("+policy_c=command", initial={"policy_b": "caller", "policy_c": "caller"})

    assert (found.policy_a, found.policy_b, found.policy_c) == ("env", "caller", "command")


def test_a_missing_value_of_a_later_file_takes_nothing_away(write):
    write("a.yaml", "x: {y: given}")
    write("b.yaml", "x:\n  y: ???\n")

    assert tree("+config_paths=[a.yaml,b.yaml]").x.y == "given"


def test_an_included_file_is_overridden_by_its_includer_at_any_depth(write):
    write("outer.yaml", "{config_paths: [middle.yaml], x: outer}")
    write("middle.yaml", "{config_paths: [inner.yaml], x: middle, y: middle}")
    write("inner.yaml", "{x: inner, y: inner, z: inner}")

    composed = compose(["+config_paths=[outer.yaml]"], NoOptions, needs_servers=False)

    assert (composed.tree.x, composed.tree.y, composed.tree.z) == ("outer", "middle", "inner")
    assert [path.name for path in composed.config_paths] == ["inner.yaml", "middle.yaml", "outer.yaml"]
    assert composed.tree.config_paths == [str(path) for path in composed.config_paths]


def test_a_file_that_is_listed_twice_is_loaded_once(write):
    write("a.yaml", "{config_paths: [b.yaml], x: a}")
    write("b.yaml", "{config_paths: [a.yaml], x: b}")

    composed = compose(["+config_paths=[a.yaml,b.yaml,a.yaml]"], NoOptions, needs_servers=False)

    assert [path.name for path in composed.config_paths] == ["b.yaml", "a.yaml"]


@pytest.mark.parametrize(
    "spelling",
    [
        "+config_paths=[a.yaml,b.yaml]",
        "+config_paths=[ a.yaml, b.yaml ]",
        "++config_paths=[a.yaml,b.yaml]",
        "config_paths=[a.yaml,b.yaml]",
        "+config_paths=a.yaml,b.yaml",
        "+config_paths='a.yaml, b.yaml'",
        "+config_paths=[a.yaml] +config_paths=[b.yaml]",
    ],
)
def test_config_paths_may_be_spelt_in_several_ways(write, spelling):
    write("a.yaml", "x: 1")
    write("b.yaml", "y: 2")
    words = [spelling] if "'" in spelling or "[ " in spelling else spelling.split()

    found = tree(*words)

    assert (found.x, found.y) == (1, 2)


def test_env_yaml_may_name_the_files_unless_the_command_line_does(write):
    write("env.yaml", "config_paths: [a.yaml]")
    write("a.yaml", "x: a")
    write("b.yaml", "x: b")

    assert tree().x == "a"
    assert tree("+config_paths=[b.yaml]").x == "b"


def test_extra_roots_come_before_the_working_directory(write, tmp_path, monkeypatch):
    write("a.yaml", "x: working directory")
    write("extra/a.yaml", "x: extra root")
    write("more/b.yaml", "y: second root")
    monkeypatch.setenv("NEMO_GYM_EXTRA_ROOTS", os.pathsep.join([str(tmp_path / "extra"), str(tmp_path / "more")]))

    found = tree("+config_paths=[a.yaml,b.yaml]")

    assert (found.x, found.y) == ("extra root", "second root")


def test_absolute_paths_pass_through(write, monkeypatch):
    path = write("deep/a.yaml", "x: 1")
    monkeypatch.chdir(path.parent)

    assert tree(f"+config_paths=[{path}]").x == 1


def test_shipped_files_are_found_from_any_directory(write):
    (paths,) = [compose(["+config_paths=[tests/config/shipped.yaml]"], NoOptions, needs_servers=False).config_paths]

    assert paths[0] == Path(__file__).with_name("shipped.yaml")


def test_interpolation_reaches_every_source_and_the_environment(write, monkeypatch):
    monkeypatch.setenv("GYM_TEST_REGION", "north")
    write("a.yaml", "{url: 'http://${policy_host}:${port}/v1', region: '${oc.env:GYM_TEST_REGION}', port: 80}")
    write("env.yaml", "policy_host: engine")

    found = tree("+config_paths=[a.yaml]", "++port=8000")

    assert found.url == "http://engine:8000/v1"
    assert found.region == "north"


def test_defaults_in_interpolations_are_taken(write):
    write("a.yaml", "{x: '${oc.env:GYM_TEST_NOT_SET,1}', y: '${oc.select:nothing,2}'}")

    assert (tree("+config_paths=[a.yaml]").x, tree("+config_paths=[a.yaml]").y) == ("1", 2)


def test_an_escaped_interpolation_stays_text(write):
    write("a.yaml", r"{x: {script: 'echo \${HOME}', list: ['\${a}']}, y: '${x.script}'}")

    found = tree("+config_paths=[a.yaml]")

    assert (found.x.script, found.x.list[0], found.y) == ("echo ${HOME}", "${a}", "echo ${HOME}")


def test_numbers_dates_and_anchors_read_as_one_expects(write):
    write("a.yaml", "{rate: 1e-3, count: 10, day: 2026-01-02, base: &base {a: 1}, other: {<<: *base, b: 2}}")

    found = tree("+config_paths=[a.yaml]")

    assert (found.rate, found.count, found.day) == (0.001, 10, "2026-01-02")
    assert found.other == {"a": 1, "b": 2}


def test_composing_writes_no_file(project, tmp_path):
    before = sorted(tmp_path.rglob("*"))

    compose(["+config_paths=[weather.yaml,model.yaml]"], NoOptions)

    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_in_yaml_names_file_line_and_column(write):
    path = write("a.yaml", "x: 1\ny: [1, 2\nz: 3\n")

    with pytest.raises(ConfigError, match=rf"{path}, line 3, column 2: "):
        tree("+config_paths=[a.yaml]")
