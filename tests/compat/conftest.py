"""Everything here sees the package as environments do, as `nemo_gym`; `root` is a search root as authors keep one."""

from pathlib import Path

import pytest

from nemo_gym_lite import alias
from tests.collect.conftest import engines, workspace

__all__ = ["engines", "workspace"]

alias.install()

ROOT = Path(__file__).parent / "root"

collect_ignore = ["root"]
"""Tests that ng_test runs."""


@pytest.fixture
def authors(workspace):
    """A user's working directory, with the authors' folders in a search root."""
    workspace.environment["NEMO_GYM_EXTRA_ROOTS"] = str(ROOT)
    return workspace
