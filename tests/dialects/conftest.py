"""Replies recorded from a real vLLM server."""

import json
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent.parent / "recorded"


@pytest.fixture
def recorded():
    def body(name):
        return json.loads((RECORDED / f"{name}.json").read_text())["body"]

    return body
