"""Arguments made for a schema satisfy it, whatever the schema asks and whatever the task says."""

from random import Random

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from responses_api_models.simulated_model.schema_values import Hints, ValueMaker

whole = st.integers(-1000, 1000)
numbers = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "number"])}, optional={"minimum": whole}),
    st.builds(
        lambda low, width: {"type": "integer", "minimum": low, "maximum": low + width},
        whole,
        st.integers(0, 9),
    ),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + 1}, whole),
    st.builds(lambda high: {"type": "integer", "maximum": high}, whole),
    st.builds(lambda step: {"type": "integer", "multipleOf": step}, st.integers(1, 50)),
)
strings = st.one_of(
    st.just({"type": "string"}),
    st.builds(lambda low: {"type": "string", "minLength": low, "maxLength": low + 3}, st.integers(0, 30)),
    st.sampled_from(["date", "date-time", "email", "uuid", "ipv4"]).map(
        lambda name: {"type": "string", "format": name}
    ),
    st.sampled_from([r"^\d{4}$", r"^[A-Z]{3}$", r"^\d{4}-\d{2}-\d{2}$", "^[a-z]+$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
)
others = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": 3}, {"type": ["string", "null"]}]),
    st.lists(st.one_of(st.text(), st.integers(), st.none()), min_size=1).map(lambda options: {"enum": options}),
)


def nested(schemas):
    return st.one_of(
        st.dictionaries(st.text(min_size=1), schemas, max_size=4).flatmap(
            lambda properties: st.builds(
                lambda required: {
                    "type": "object",
                    "properties": properties,
                    "required": required,
                    "additionalProperties": False,
                },
                st.lists(st.sampled_from(sorted(properties)), unique=True) if properties else st.just([]),
            )
        ),
        st.builds(lambda item, low: {"type": "array", "items": item, "minItems": low}, schemas, st.integers(0, 3)),
        st.lists(schemas, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        schemas.map(lambda schema: {"allOf": [schema], "description": "wrapped"}),
    )


schemas = st.recursive(st.one_of(numbers, strings, others), nested, max_leaves=12)


@given(schemas, st.integers(), st.text())
def test_a_value_satisfies_its_schema(schema, seed, task):
    value = ValueMaker(schema, Random(seed), Hints.of(task)).value(schema)

    jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/city", "$defs": {"city": {"type": "string", "enum": ["Rome"]}}},
        {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
            "required": ["children"],
        },
        {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3},
        {
            "type": "array",
            "prefixItems": [{"type": "string"}, {"type": "integer"}],
            "minItems": 2,
            "maxItems": 2,
        },
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
        {"properties": {"a": {"type": "integer"}}, "required": ["a", "b"]},
        {"oneOf": [{"type": "null"}, {"type": "integer", "minimum": 5}]},
        {},
    ],
)
@pytest.mark.parametrize("seed", range(20))
def test_references_recursion_and_rarer_words_are_understood(schema, seed):
    jsonschema.validate(ValueMaker(schema, Random(seed), Hints()).value(schema), schema)


@pytest.mark.parametrize(
    ("text", "names", "numbers"),
    [
        ("What is the weather in New York?", ["New York"], []),
        ("What is the weather in Rome and in Vienna?", ["Rome", "Vienna"], []),
        ("I fly from Chicago to Denver today. What now?", ["Chicago", "Denver"], []),
        ("Add 5 to the counter, then add -2.5.", [], [5, -2.5]),
        ('Open the file "notes.txt"', ["notes.txt"], []),
    ],
)
def test_names_and_numbers_of_a_task_are_found(text, names, numbers):
    hints = Hints.of(text)

    assert (hints.names, hints.numbers) == (names, numbers)


def test_what_the_task_mentions_is_preferred():
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
            "unit": {"enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city", "days", "unit"],
    }
    hints = Hints.of("What is the weather in Oslo for 5 days, in fahrenheit?")

    value = ValueMaker(schema, Random(0), hints).value(schema)
    assert value == {"city": "Oslo", "days": 5, "unit": "fahrenheit"}
