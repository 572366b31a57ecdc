"""Servers that run on NeMo Gym itself, where it is installed and the user prefers it to our modules of that name."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from nemo_gym_lite.alias import nemo_gym_is_installed
from nemo_gym_lite.config.blocks import Block
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.errors import ConfigError

USE_INSTALLED_KEY = "use_installed_nemo_gym"

_IMPORT = re.compile(r"^\s*(?:from|import)\s+nemo_gym\b", re.MULTILINE)


def prefer_nemo_gym(blocks: Iterable[Block]) -> None:
    """Mark the servers whose code imports `nemo_gym` as such that run on NeMo Gym.

    Raises:
        ConfigError: NeMo Gym is not installed.
    """
    if not nemo_gym_is_installed():
        raise ConfigError(
            f"{USE_INSTALLED_KEY}=true: NeMo Gym is not installed for {sys.executable}",
            "pip install nemo-gym, or leave the key out: what imports nemo_gym then gets our modules of the same names",
        )
    for block in blocks:
        code = find(Path(block.server_type, block.implementation, block.config["entrypoint"]))
        if code is not None and _IMPORT.search(code.read_text()):
            block.config[USE_INSTALLED_KEY] = True
