"""What all environments at once take: start of `ng_run`, memory of each server, and the package's own import.

`python -m benchmarks.environments` starts every environment that the repository has, each in a process of its own;
their agents share one.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.measured import ROOT, environment
from benchmarks.startup import measure_startup

READY_BAR_S = 15.0
SERVER_BAR_MB = 100.0
IMPORT_BAR_MS = 100.0

MODELS = (
    "responses_api_models/simulated_model/configs/simulated_model.yaml",
    "responses_api_models/simulated_model/configs/simulated_judge_model.yaml",
)
_TIMED_IMPORT = """
import time
began = time.perf_counter()
import nemo_gym_lite
print(1000 * (time.perf_counter() - began))
"""


def main() -> int:
    """Measure and print; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3, help="starts; the median is shown")
    options = parser.parse_args()
    configs = environment_configs()
    with tempfile.TemporaryDirectory(prefix="ng-environments-") as folder:
        startup = measure_startup(Path(folder), options.rounds, [*MODELS, *configs])
    import_ms = median(_import_ms() for _ in range(2 * options.rounds + 1))
    table = Table("server", "MB")
    for name, size_mb in sorted(startup.by_server_mb.items(), key=lambda each: -each[1]):
        table.add_row(name, f"{size_mb:.0f}" + (" MISSED" if size_mb > SERVER_BAR_MB else ""))
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    largest_mb = max(startup.by_server_mb.values())
    met = startup.ready_s < READY_BAR_S and largest_mb < SERVER_BAR_MB and import_ms < IMPORT_BAR_MS
    console.print(
        f"{len(configs)} environments in {len(startup.by_server_mb)} processes: ready after {startup.ready_s:.1f} s "
        f"(bar {READY_BAR_S:g}), the largest takes {largest_mb:.0f} MB (bar {SERVER_BAR_MB:g}), all with ng_run "
        f"{startup.servers_mb:,.0f} MB; import of nemo_gym_lite {import_ms:.0f} ms (bar {IMPORT_BAR_MS:g})"
    )
    return 0 if met else 1


def environment_configs() -> list[str]:
    """The configuration of every environment that has one of its own name."""
    found = sorted((ROOT / "resources_servers").glob("*/configs/*.yaml"))
    return [str(path.relative_to(ROOT)) for path in found if path.stem == path.parents[1].name]


def _import_ms() -> float:
    """Milliseconds that `import nemo_gym_lite` takes in a fresh process, beyond the interpreter's start."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED_IMPORT], env=environment(), check=True, capture_output=True, text=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
