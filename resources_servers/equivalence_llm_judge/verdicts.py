"""What is shown to a judge, and what it says: parts of texts found by regular expressions, and labels."""

import re
from collections.abc import Sequence

from nemo_gym_lite.openai_utils import NeMoGymResponse


def extract(text: str, regex: str | None) -> str:
    """Return what the last match of `regex` holds: its first group that is not empty, else the whole match.

    Without `regex`, or if it matches nothing, that is the whole text; white space around is dropped.
    """
    found = None
    if regex:
        for found in re.finditer(regex, text, re.MULTILINE | re.DOTALL):  # noqa: B007 -- the last match is wanted
            pass
    if found is None:
        return text.strip()
    groups = (group for group in found.groups() if group and group.strip())
    return next(groups, found[0]).strip()


def first_label(text: str, labels: Sequence[str]) -> str | None:
    """Return the label that stands first in `text`, None if there is none.

    Where two begin in one another, as `INCORRECT` and `CORRECT`, the longer one is meant.
    """
    found = [(text.find(label), -len(label), label) for label in labels if label in text]
    return min(found)[2] if found else None


def last_message(response: NeMoGymResponse) -> str | None:
    """Return the text of the last item, None if that is no message or a refusal."""
    last = response.output[-1] if response.output else None
    parts = getattr(last, "content", None) if last is not None and last.type == "message" else None
    if not parts or getattr(parts[-1], "type", None) != "output_text":
        return None
    return str(parts[-1].text)
