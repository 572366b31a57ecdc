"""What the command line may say."""

import pytest

from nemo_gym_lite.config.overrides import apply_overrides, parse_overrides
from nemo_gym_lite.errors import ConfigError


def applied(tree, *argv, may_set=()):
    apply_overrides(tree, parse_overrides(argv), lambda key: key in may_set)
    return tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("0.3", 0.3),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ("", ""),
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("'a, b'", "a, b"),
        ('"1"', "1"),
        ("[a.yaml,b/c.yaml]", ["a.yaml", "b/c.yaml"]),
        ("{a: 1, b: [x]}", {"a": 1, "b": ["x"]}),
        ("http://a/v1,http://b/v1", "http://a/v1,http://b/v1"),
        ("results/vllm_rollouts.jsonl", "results/vllm_rollouts.jsonl"),
        ("results/temperature=0.3.jsonl", "results/temperature=0.3.jsonl"),
        ("~/rollouts/été (1).jsonl", "~/rollouts/été (1).jsonl"),
        ("http://h/v1?api-version=2024-06-01", "http://h/v1?api-version=2024-06-01"),
        ("it's", "it's"),
        ("${policy_base_url}", "${policy_base_url}"),
    ],
)
def test_a_value_means_what_hydra_makes_of_it_or_else_its_text(text, value):
    (override,) = parse_overrides([f"+key={text}"])

    assert override.value == value
    assert type(override.value) is type(value)


def test_plus_adds_and_replaces_and_nests():
    tree = applied({"a": {"b": 1}}, "+a.b=2", "++a.c=3", "+x.y.z=4", "+a.c=5")

    assert tree == {"a": {"b": 2, "c": 5}, "x": {"y": {"z": 4}}}


def test_without_plus_a_key_must_be_there_or_be_an_option():
    assert applied({"a": 1}, "a=2", "limit=5", may_set={"limit"}) == {"a": 2, "limit": 5}
    with pytest.raises(ConfigError, match=r"no key `b`") as caught:
        applied({"a": 1}, "b=2")
    assert caught.value.hint == "to add it, write `+b=2`"


def test_a_tilde_deletes():
    assert applied({"a": {"b": 1, "c": 2}, "d": 3}, "~a.b", "~d") == {"a": {"c": 2}}


def test_a_mapping_is_merged_into_a_mapping():
    assert applied({"a": {"b": 1}}, "++a={c: 2}") == {"a": {"b": 1, "c": 2}}


def test_an_empty_word_from_the_shell_is_nothing():
    assert parse_overrides(["", " "]) == []


@pytest.mark.parametrize(
    "token", ["tasks.jsonl", "+limit", "--limit=5", "-n", "+=5", "+a b=5", "+a[0]=1", "+a@b=1", "limit"]
)
def test_a_word_that_is_no_override_is_refused_with_the_way_to_write_one(token):
    with pytest.raises(ConfigError, match="is no override") as caught:
        parse_overrides([token])
    assert token in caught.value.message
    assert "+key=value" in caught.value.hint


@pytest.mark.parametrize("token", ["+a=[b", "+a=[b,]", "+a={b: 1", "+a='b", '+a="b'])
def test_an_open_bracket_or_quote_is_refused(token):
    with pytest.raises(ConfigError, match="malformed"):
        parse_overrides([token])


def test_a_key_cannot_be_set_inside_a_plain_value():
    with pytest.raises(ConfigError, match=r"`a\.b` is 1, not a mapping"):
        applied({"a": {"b": 1}}, "+a.b.c=2")
