"""Which letter a text chooses in each grading mode and by a row's own pattern; nothing takes long."""

import time

import pytest

from resources_servers.mcqa.grading import choose, choose_by_pattern

OPTIONS = {"A": "Lima", "B": "Quito", "C": "La Paz", "D": "La Paz, Bolivia"}
TEN = {letter: f"option {letter}" for letter in "ABCDEFGHIJ"}
MODES = [
    "strict_single_letter_boxed",
    "lenient_boxed",
    "lenient_answer_colon",
    "lenient_answer_colon_md",
]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        (r"\boxed{B}", "B"),
        (r"\boxed {B}", "B"),
        (r"\boxed{(B)}", "B"),
        (r"\boxed{ B. }", "B"),
        (r"\boxed{ [C] }", "C"),
        (r"\boxed{\text{B}}", "B"),
        (r"\boxed{\textbf{\text{(B)}}}", "B"),
        (r"\boxed{\text{B: up in the Andes}}", "B"),
        (r"\boxed{B) \text{Quito}}", "B"),
        (r"\boxed{\text{some idea}}, so \boxed{B}", "B"),
        (r"\boxed{A} and then \boxed{B}", "B"),
        (r"\boxed{B} and then \boxed{A}", "A"),
        (r"\boxed{b}", None),
        (r"\boxed{AB}", None),
        (r"\boxed{A or B}", None),
        (r"\boxed{A polygenic risk}", None),
        (r"\boxed{Quito}", None),
        (r"\boxed{E}", None),
        (r"\boxed{}", None),
        (r"\boxed{B", None),
        ("B", None),
        ("Answer: B", None),
    ],
)
def test_the_strict_mode_reads_one_capital_letter_in_the_last_box(text, choice):
    assert choose(text, OPTIONS, "strict_single_letter_boxed") == choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        (r"\boxed{B}", "B"),
        (r"\boxed{b}", "B"),
        (r"\boxed{\text{B}}", "B"),
        (r"\boxed{\textbf{(B)}}", "B"),
        (r"\boxed{B: Quito}", "B"),
        (r"\boxed{B) quito}", "B"),
        (r"\boxed{\text{Quito}}", "B"),
        (r"\boxed{La  Paz}", "C"),
        (r"\boxed{la paz, bolivia.}", "D"),
        (r"\boxed{the city of Quito in Ecuador}", "B"),
        (r"\boxed{Limassol}", None),
        (r"\boxed{Quito or Lima}", None),
        (r"\boxed{Paris}", None),
        (r"\boxed{A or B}", None),
        ("Quito", None),
    ],
)
def test_the_lenient_boxed_mode_also_reads_an_options_text(text, choice):
    assert choose(text, OPTIONS, "lenient_boxed") == choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Answer: B", "B"),
        ("answer : b", "B"),
        ("Let me think.\nAnswer: A\nNo.\nAnswer: B\nThat is it.", "B"),
        ("Final answer: Quito", "B"),
        ("Answer:\nquito", "B"),
        (r"Answer: \boxed{B}", "B"),
        (r"Answer: \text{Quito}", "B"),
        ("**Answer: B**", None),
        ("Answer: (B)", None),
        ("Answer: B, because it is high up", None),
        ("Answer: Paris", None),
        ("Answer:", None),
        ("The answer is B", None),
        (r"\boxed{B}", None),
    ],
)
def test_the_lenient_answer_colon_mode_reads_the_last_answer_line(text, choice):
    assert choose(text, OPTIONS, "lenient_answer_colon") == choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Answer: B", "B"),
        ("**Answer: C**", "C"),
        ("__Answer__: A", "A"),
        ("Answer: B because C is not high up", "B"),
        ("Answer: B/B", "B"),
        ("Answer: $D$", "D"),
        ("Answer: (D)", "D"),
        ("Answer\uff1a \uff22", "B"),
        ("Answer: \u0628", "B"),
        (r"\boxed{\text{Answer: G}}", "G"),
        ("Answer: A\nAnswer: B", "B"),
        ("Answer: B\nAnswer: unknown", "B"),
        ("Answer: B\nAnswer: A/C", "B"),
        ("Answer: unknown", None),
        ("Answer: K", None),
        ("Answer: A or B", None),
        ("Answer: A, B", None),
        ("the answer is (C).", None),
        (r"\boxed{B}", None),
        ("\u0909\u0924\u094d\u0924\u0930: D\u0964", "D"),
        ("so\n\n**\u099c\u09ac\u09be\u09ac: B**", "B"),
        ("\u09a6\u09c7\u0996\u09be: A/B", None),
        ("\u0909\u0924\u094d\u0924\u0930: B\nand more", None),
        ("A: B", None),
    ],
)
def test_the_markdown_mode_reads_the_last_answer_that_names_one_letter(text, choice):
    assert choose(text, TEN, "lenient_answer_colon_md") == choice


@pytest.mark.parametrize(
    ("text", "pattern", "choice"),
    [
        ("Maybe Answer: A? No. Final Answer: B", r"Answer:\s*([A-Za-z])", "B"),
        ("ANSWER IS b", r"answer is\s*([a-z])", "B"),
        ("Antwort: B", [r"Answer:\s*([A-Z])", r"Antwort:\s*([A-Z])"], "B"),
        ("it is Quito!", r"it is (\w+)", "B"),
        ("pick=B", r"(?:pick|take)=(?:([A-D])|none)", "B"),
        ("B", r"[A-D]", "B"),
        ("Answer: Z", r"Answer:\s*([A-Z])", "Z"),
        ("\u0627\u0644\u0625\u062c\u0627\u0628\u0629: \u0628", r":\s*(\w)", "B"),
        ("it is Paris", r"it is (\w+)", None),
        ("B", r"([", None),
        ("B", [], None),
    ],
)
def test_a_pattern_finds_the_letter_or_text_of_its_last_match(text, pattern, choice):
    assert choose_by_pattern(text, pattern, OPTIONS) == choice


def test_a_text_that_two_options_share_chooses_none_of_them():
    assert choose(r"\boxed{same}", {"A": "same", "B": "Same"}, "lenient_boxed") is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 300_000,
        "\\boxed{" + "{a}" * 700_000,
        "answer:" * 300_000,
        "answer" + "*" * 2_000_000,
        "answer" + " " * 2_000_000,
        "answer: x\n" * 200_000,
    ],
    ids=["boxes", "braces", "answers", "stars", "spaces", "lines"],
)
def test_a_hostile_text_of_megabytes_is_read_in_no_time(text, mode):
    begun = time.process_time()
    assert choose(text, OPTIONS, mode) is None
    assert time.process_time() - begun < 0.5
