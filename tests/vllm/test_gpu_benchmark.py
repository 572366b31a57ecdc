"""The GPU benchmark measures real servers: every request answered with all its tokens, repeats placed as it says."""

import subprocess
import sys

import pytest

from benchmarks.gpu.figures import Report
from benchmarks.gpu.programs import variables
from tests.vllm.engines import MODEL, VENV

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]

PROMPT_TOKENS = 70
REPEATED_TOKENS = 300


def test_every_way_to_a_server_and_every_placement_is_measured(engines, tmp_path):
    out = tmp_path / "gpu.json"
    options = {
        "--model": MODEL,
        "--python": VENV / "bin/python",
        "--base-url": ",".join(engine.base_url for engine in engines),
        "--steps": "bare,near,served,prefix",
        "--waves": 4,
        "--prompt-tokens": PROMPT_TOKENS,
        "--output-tokens": 16,
        "--prefix-in-flight": 8,
        "--prefix-tokens": REPEATED_TOKENS,
        "--repeats": 4,
        "--out": out,
    }
    words = [str(word) for pair in options.items() for word in pair]
    command = [sys.executable, "-m", "benchmarks.gpu.run", *words, "--in-flight", "2", "8"]
    done = subprocess.run(command, env=variables(), capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    report = Report.read(out)

    ways = [(way, size) for size in (2, 8) for way in ("bare", "near", "served")]
    placements = [(f"prefix-{name}", 8) for name in ("random", "session", "task")]
    assert [(each.way, each.in_flight) for each in report.figures] == [*ways, *placements]
    for each in report.figures:
        prompt_tokens = REPEATED_TOKENS if each.way.startswith("prefix") else PROMPT_TOKENS
        assert each.requests == 4 * each.in_flight
        assert each.output_tokens == 16 * each.requests
        assert each.prompt_tokens == prompt_tokens * each.requests
    assert all(engine.completed() > 0 for engine in engines)
    assert report.middle("prefix-task", 8).hit_rate > 0
