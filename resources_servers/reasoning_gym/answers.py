"""Finds the answer in a reply: between `<answer>` tags, in a box, or all of it."""

_OPEN, _CLOSE = "<answer>", "</answer>"
_BOX = "\\boxed{"


def extract_answer(text: str) -> tuple[str, bool]:
    """The answer, and whether the reply marks it as such.

    The last `<answer>...</answer>` counts, without one the last `\\boxed{...}` that is closed, else the whole reply.
    """
    tagged = _tagged(text)
    marked = _boxed(text) if tagged is None else tagged
    return (text.strip(), False) if marked is None else (marked.strip(), True)


def _tagged(text: str) -> str | None:
    end = text.rfind(_CLOSE)
    begin = text.rfind(_OPEN, 0, max(end, 0))
    return None if begin < 0 else text[begin + len(_OPEN) : end]


def _boxed(text: str) -> str | None:
    begin = text.rfind(_BOX)
    if begin < 0:
        return None
    depth = 1
    for at in range(begin + len(_BOX), len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[begin + len(_BOX) : at]
    return None
