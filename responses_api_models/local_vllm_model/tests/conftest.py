"""A user's folder, with a program that stands for vllm."""

import sys
from pathlib import Path

import pytest

from nemo_gym_lite.serving.run_files import WORKING_FOLDER_VARIABLE

STAND_IN = Path(__file__).with_name("stand_in_vllm.py")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder, with a program that stands for vllm."""
    program = tmp_path / "vllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("STAND_IN_FOLDER", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.setenv(WORKING_FOLDER_VARIABLE, str(tmp_path))
    return tmp_path
