"""Wrong answers of the right kind: another letter, a number close by, a text that breaks off."""

import re
from fractions import Fraction
from random import Random

_LETTER_OPTION = re.compile(r"^\s*\(?([A-J])[):.]\s", re.MULTILINE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_LABEL = re.compile(r"\[\[([^\[\]\n]{1,20})\]\]")
_FINAL = re.compile(r"(\\boxed\{|<answer>|Answer: |#### )([^{}<\n]+)")
_FORMS = {"\\boxed": "\\boxed{{}}", "<answer>": "<answer>{}</answer>", "####": "#### {}", "Answer:": "Answer: {}"}
"""How a final answer is marked, by what a task's text says if it wants that; `{}` stands for the answer."""


def final_form(task: str) -> str | None:
    """How the task wants its final answer marked, with `{}` for the answer; None if it does not say."""
    return next((form for word, form in _FORMS.items() if word in task), None)


def guess(task: str, right: str | None, random: Random) -> str:
    """An answer of the right kind that is not `right`; without `right`, one that the task's text offers."""
    letters: list[str] = [letter for letter in _LETTER_OPTION.findall(task) if letter != right]
    if right is None:
        numbers: list[str] = _NUMBER.findall(task)
        return random.choice(letters or numbers or ["42"]).replace(",", "")
    if len(right) == 1 and right.isalpha():
        return random.choice(letters or [letter for letter in "ABCD" if letter != right.upper()])
    try:
        wrong = Fraction(right.replace(",", "")) + random.choice((-2, -1, 1, 2, 10))
    except (ValueError, ZeroDivisionError):
        return "unknown"
    return str(wrong) if "/" in right else f"{float(wrong):g}"


def spoiled(text: str, task: str, random: Random) -> str:
    """`text` with another final answer, if it marks one; else another word for a word, or its first half."""
    if final := list(_FINAL.finditer(text))[-1:]:
        begin, end = final[0].span(2)
        return text[:begin] + guess(task, text[begin:end].strip(), random) + text[end:]
    words = text.split(" ")
    return " ".join(words[: len(words) // 2]) if len(words) > 1 else guess(task, text.strip(), random)


def labels(task: str) -> list[str]:
    """The verdicts that a judge's prompt offers, such as `[[A=B]]` and `[[A!=B]]`, in the order of their mention."""
    offered = dict.fromkeys(label for label in _LABEL.findall(task) if any(map(str.isalpha, label)))
    return [f"[[{label}]]" for label in offered] if len(offered) > 1 else []
