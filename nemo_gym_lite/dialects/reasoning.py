"""Reasoning as `<think>` tags in a text, which is how it travels through Chat Completions."""

import re

_THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL)


def wrap(text: str) -> str:
    """Return `text` as a think block; no text makes no block."""
    return f"<think>{text}</think>" if text else ""


def split(content: str) -> tuple[list[str], str]:
    """Return the texts of all closed think blocks of `content`, and `content` without them."""
    if "<think>" not in content:
        return [], content
    return _THINK.findall(content), _THINK.sub("", content)
