"""The comparison by math-verify, in a module of its own: importing it takes a second and 60 MB.

The library's own time limits are off, as they need the main thread's signals; those of `verify_pool` always hold.
"""

import logging
from typing import Any

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from resources_servers.math_with_judge.answers import without_delimiters

logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it logs each expression that it cannot read


def compare(expected: str, generated: str) -> tuple[float, str | None]:
    """Compare the answer in `generated` with `expected`.

    Returns:
        1.0 if they are equal, else 0.0; and the answer as it was read, None if none was found.
    """
    gold = _read(f"\\boxed{{{without_delimiters(expected)}}}", [LatexExtractionConfig()])
    answers = _read(generated, [ExprExtractionConfig(), LatexExtractionConfig()])
    if not gold or not answers:
        return 0.0, str(answers[0]) if answers else None
    for answer in answers:
        if verify(gold, [answer], timeout_seconds=0):
            return 1.0, str(answer)
    return 0.0, str(answers[0])


def _read(text: str, kinds: list[Any]) -> list[Any]:
    """What the text may mean, best first: expressions, then their text."""
    found: list[Any] = parse(text, extraction_config=kinds, parsing_timeout=0)
    return found
