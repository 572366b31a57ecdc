"""Every server and the collector import the types, so what that costs is paid many times."""

import subprocess
import sys

IMPORT = "import sys, nemo_gym_lite.openai_utils, nemo_gym_lite.dialects.reply; print(*sys.modules)"


def test_the_types_do_not_drag_in_the_openai_package_or_anything_that_does_io():
    loaded = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout.split()

    assert not {"openai", "aiohttp", "fastapi", "omegaconf", "asyncio", "pandas"} & set(loaded)
