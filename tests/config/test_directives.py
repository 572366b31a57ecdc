"""What `_inherit_from`, `_copy` and `_delete_key` do to a tree."""

import pytest

from nemo_gym_lite.config.directives import apply_directives, normalise_directives
from nemo_gym_lite.config.files import ConfigFiles
from nemo_gym_lite.errors import ConfigError, InheritPathNotFoundError


def applied(tree):
    return apply_directives(normalise_directives(tree))


def test_inheriting_moves_a_node_and_lays_the_own_keys_over_it():
    tree = {"base": {"model": {"a": 1, "b": {"c": 2}}}, "x": {"_inherit_from": "base.model", "b": {"d": 3}, "e": 4}}

    assert applied(tree) == {"base": {}, "x": {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}}


def test_copying_leaves_the_source_where_it_is():
    assert applied({"base": {"a": 1}, "x": {"_copy": "base", "a": 2}}) == {"base": {"a": 1}, "x": {"a": 2}}


def test_the_short_spellings_mean_the_same():
    tree = {"base": {"a": 1}, "list": [1], "x": "${copy:base}", "y": "${inherit_from:list}"}

    assert applied(tree) == {"base": {"a": 1}, "x": {"a": 1}, "y": [1]}


def test_several_may_inherit_from_one_node():
    tree = {"base": {"a": 1}, "x": {"_inherit_from": "base"}, "y": {"_inherit_from": "base", "a": 2}}

    assert applied(tree) == {"x": {"a": 1}, "y": {"a": 2}}


def test_an_inherited_node_may_itself_inherit():
    tree = {"one": {"a": 1}, "two": {"_inherit_from": "one", "b": 2}, "three": {"_inherit_from": "two", "c": 3}}

    assert applied(tree) == {"three": {"a": 1, "b": 2, "c": 3}}


def test_a_later_file_may_add_keys_to_an_inherited_node(write):
    write("a.yaml", "{base: {a: 1}, x: '${inherit_from:base}'}")
    write("b.yaml", "x: {b: 2}")
    files = ConfigFiles()
    files.add(["a.yaml", "b.yaml"], "the test")

    assert applied(files.tree) == {"x": {"a": 1, "b": 2}}


def test_a_copy_of_a_missing_value_is_missing():
    assert applied({"base": {"a": "???"}, "x": "${copy:base.a}"})["x"] == "???"


def test_directives_work_inside_lists():
    assert applied({"base": {"a": 1}, "x": [{"_copy": "base"}]})["x"] == [{"a": 1}]


def test_deleted_keys_go_from_the_overlay_and_from_what_it_inherits():
    tree = {
        "base": {"a": 1, "b": 2, "c": 3},
        "x": {"_copy": "base", "_delete_key": "a, d", "d": 4, "b": 5},
        "y": {"_delete_key": "e", "e": 1, "f": 2},
    }

    assert applied(tree) == {"base": {"a": 1, "b": 2, "c": 3}, "x": {"b": 5, "c": 3}, "y": {"f": 2}}


def test_the_tree_that_is_given_is_left_alone():
    tree = {"base": {"a": [1]}, "x": {"_inherit_from": "base"}}
    result = applied(tree)
    result["x"]["a"].append(2)

    assert tree == {"base": {"a": [1]}, "x": {"_inherit_from": "base"}}


def test_an_absent_path_is_refused_with_near_matches():
    with pytest.raises(InheritPathNotFoundError, match=r"_inherit_from of `x` names `bas\.a`") as caught:
        applied({"base": {"a": 1}, "x": {"_inherit_from": "bas.a"}})
    assert "`base`" in caught.value.hint


@pytest.mark.parametrize(
    "tree",
    [
        {"x": {"_inherit_from": "x"}},
        {"x": {"y": {"_copy": "x"}}},
        {"x": {"_inherit_from": "y"}, "y": {"_inherit_from": "x"}},
    ],
)
def test_circles_are_refused(tree):
    with pytest.raises(ConfigError, match="circle"):
        applied(tree)


def test_keys_cannot_be_added_to_a_plain_value():
    with pytest.raises(ConfigError, match="no keys can be added"):
        applied({"base": 1, "x": {"_copy": "base", "a": 2}})


def test_deleting_a_key_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="names `aa`, which is not there") as caught:
        applied({"x": {"_delete_key": "aa", "aaa": 1}})
    assert "`aaa`" in caught.value.hint
