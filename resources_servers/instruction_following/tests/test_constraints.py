"""What each kind of constraint counts or demands, and that no text makes one slow."""

import time

import pytest

from resources_servers.instruction_following.constraints import KINDS, Range


def measure(kind, text, **given):
    return KINDS[kind].measure(text, **given)


def follows(kind, text, **given):
    return KINDS[kind].is_followed(text, KINDS[kind].parameters.model_validate(given))


LIST = "Before:\n\n- one\n* two\n+ three\n\u2022 four\n\n1. five\n2) six\n4. eight\n\n1. again"
ESSAY = """# One

Dr. No said: "Why?" Nobody knew... It cost 1,250.5 euros!


## Two
The well-known END of **the tale**.
"""


@pytest.mark.parametrize(
    ("kind", "text", "count"),
    [
        ("words", "Don't count 1,250.5 well-known e\u0301tudes twice.", 6),
        ("words", "one,two", 2),
        ("words", "\u0938\u092e \u0939\u094b\u0924\u0940 \u0939\u0948\u0964", 3),
        ("words", "...", 0),
        ("different_words", "The the THE end", 2),
        ("most_repeated_word", "The the THE end", 3),
        ("most_repeated_word", "", 0),
        ("sentences", "One. Two! Three? Four\u2026 five", 5),
        ("sentences", "It cost 3.5 euros at a.example.", 1),
        ("sentences", 'He said "Go." (He did.) Then **no.**', 3),
        ("sentences", "\u4e00\u3002\u4e8c\uff01\u4e09\uff1f", 3),
        ("sentences", "A title\n\nA text.", 2),
        ("sentences", "Three:\n1. one\n2. two\n- three", 4),
        ("sentences", ". . .", 0),
        ("longest_sentence", "One two. One two three. One.", 3),
        ("longest_sentence", "", 0),
        ("questions", 'Who? Me. "Why?" \u306a\u305c\uff1f', 3),
        ("paragraphs", ESSAY, 3),
        ("paragraphs", "\n\none\n \ntwo\n\n\n\n", 2),
        ("lines", "one\n\n  two\n", 2),
        ("characters", "  a b\n", 3),
        ("bullets", LIST, 4),
        ("bullets", "-not one\n**bold** is none", 0),
        ("numbered_items", LIST, 2),
        ("headings", ESSAY, 2),
        ("headings", "#none\n####### none", 0),
        ("bold_spans", "**a** and **b c** and ** and *d*", 2),
        ("placeholders", "[name], [the day] and []", 2),
        ("numbers", "3 of 1,250.5 on 2024-05-10", 5),
        ("upper_case_words", "I SAW the NASA man", 2),
        ("occurrences", "", 0),
    ],
)
def test_what_is_counted(kind, text, count):
    given = {"phrase": "x"} if kind == "occurrences" else {}
    assert measure(kind, text, **given) == count
    assert follows(kind, text, at_least=count, at_most=count, **given)
    assert not follows(kind, text, at_least=count + 1, **given)


@pytest.mark.parametrize(
    ("phrase", "text", "count"),
    [
        ("cat", "Cat, cats, a cat's CAT", 3),
        ("New York", "new\nyork and New  York", 2),
        ("!", "Oh! No!", 2),
        (", and", "this, and that, and", 2),
        ("C++", "C++ or Objective-c++, not Cython", 2),
        ("\u685c", "\u6625\u306b\u306f\u685c\u304c\u54b2\u304f", 1),
    ],
)
def test_phrases_are_found_as_whole_words_in_any_case(phrase, text, count):
    assert measure("occurrences", text, phrase=phrase) == count


@pytest.mark.parametrize(
    ("kind", "given", "right", "wrong"),
    [
        ("includes", {"phrases": ["sea", "sky"]}, "The sky and the Sea", "The sky and the seal"),
        ("excludes", {"phrases": ["sea", "sky"]}, "The seal", "A blue SKY"),
        ("in_order", {"phrases": ["one", "two", "one"]}, "One, two, one", "one one two"),
        ("excludes_characters", {"characters": "Ex"}, "a,b", "Me"),
        ("lower_case", {}, "all 3 small", "All small"),
        ("lower_case", {}, "\u00e9t\u00e9", "123"),
        ("upper_case", {}, "ALL 3 BIG", "ALL big"),
        ("starts_with", {"phrase": "Dear"}, " Dear you", "dear you"),
        ("ends_with", {"phrase": "Yours."}, "ever Yours.\n", "Yours. T."),
        ("one_of", {"choices": ["Yes", "No"]}, "No\n", "No."),
        ("quoted", {}, '"ask first"', "ask first"),
        ("quoted", {}, "\u00abask\u00bb", '""'),
        ("initials", {"letters": "SUN"}, "so\n\n- under\n1. no", "so\nno\nunder"),
        ("alphabetical", {}, "Three:\n- Ant\n- bee\n- cow", "- bee\n- ant"),
        ("alphabetical", {}, "ant\nbee", "ant"),
        ("json_object", {}, ' {"a": 1}', "[1]"),
        ("json_object", {}, "{}", "{"),
    ],
)
def test_what_is_demanded(kind, given, right, wrong):
    assert follows(kind, right, **given)
    assert not follows(kind, wrong, **given)


def test_every_kind_says_what_it_is():
    assert all(kind.measure.__doc__ for kind in KINDS.values())


GIVEN = {
    "phrase": "a b",
    "phrases": ["a b", "b a"],
    "characters": "\u00df",
    "choices": ["a"],
    "letters": "a",
    "at_least": 0,
}
HOSTILE = {
    "newlines": "\n" * 100_000,
    "blank lines": "a\n \n" * 25_000,
    "spaces": "a" + " " * 100_000,
    "quotes": '."' * 50_000,
    "ends": "." * 100_000,
    "stars": "**a" * 33_000,
    "brackets": "[" * 100_000,
    "open brackets": "[a" * 50_000,
    "items": "- a\n" * 25_000,
    "numbers": "1,1" * 33_000,
    "hyphens": "a-" * 50_000,
    "phrases": "a  " * 33_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_of_a_hundred_kilobytes_makes_a_check_slow(text):
    for name, kind in KINDS.items():
        fields = kind.parameters.model_fields
        given = {key: value for key, value in GIVEN.items() if key in fields}
        begun = time.process_time()
        kind.is_followed(text, kind.parameters.model_validate(given))
        assert time.process_time() - begun < 1.0, name
        assert issubclass(kind.parameters, Range) == ("at_least" in fields)
