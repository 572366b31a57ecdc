"""`make soak`: everything that load and failing endpoints must not break, as real commands, with a report.

    python -m benchmarks.soak.run            # all scenarios, about 45 minutes on two quiet cores
    python -m benchmarks.soak.run --quick    # smaller forms of all of them, less than 10 minutes
    python -m benchmarks.soak.run --only 3   # one of them

The report with its pictures lands in `results/soak/report.md`. The exit code is 1 if a bar was missed.
"""

import argparse
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks.soak.admission import ADMISSION
from benchmarks.soak.budgets import BUDGETS
from benchmarks.soak.checks import CHECKS
from benchmarks.soak.cores import CORES
from benchmarks.soak.faults import FAULTS
from benchmarks.soak.million import MILLION
from benchmarks.soak.report import write_report
from benchmarks.soak.scene import Scenario, Scene, say
from benchmarks.soak.spread import SPREAD
from benchmarks.soak.verdict import Verdict

ALL = (SPREAD, FAULTS, ADMISSION, BUDGETS, CHECKS, CORES, MILLION)
SCENARIOS = {scenario.number: scenario for scenario in ALL}


def main() -> int:
    """Play and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller forms, less than 10 minutes")
    numbers = sorted(SCENARIOS)
    parser.add_argument("--only", type=int, nargs="+", choices=numbers, default=numbers, help="scenarios, by number")
    parser.add_argument("--report", type=Path, default=Path("results/soak"), help="folder of the report")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # engines and commands are ended on the way out
    verdicts = []
    for number in options.only:
        verdicts.append(play(SCENARIOS[number], quick=options.quick))
        path = write_report(options.report, verdicts, quick=options.quick)  # a later scenario may be interrupted
    say(f"the report is {path}")
    return 0 if all(verdict.met for verdict in verdicts) else 1


def play(scenario: Scenario, *, quick: bool) -> Verdict:
    """One scenario; what stops a part of it is in its verdict."""
    say(f"scenario {scenario.number}: {scenario.title}")
    verdict = Verdict(scenario.number, scenario.title, scenario.promise)
    began_s = time.time()
    for part in scenario.parts:
        with tempfile.TemporaryDirectory(prefix="ng-soak-", ignore_cleanup_errors=True) as folder:
            scene = Scene(Path(folder), quick)
            try:
                part(scene, verdict)
            except Exception:  # the other parts, scenarios and the report must go on
                verdict.errors.append(traceback.format_exc())
            finally:
                for command in scene.started:
                    if command.runs():
                        command.kill()
    verdict.wall_s = time.time() - began_s
    _show(verdict)
    return verdict


def _show(verdict: Verdict) -> None:
    for figure in verdict.figures:
        state = "    " if figure.met is None else "met " if figure.met else "MISS"
        say(f"  {state} {figure.what}: {figure.measured} {f'({figure.bar})' if figure.bar else ''}")
    for error in verdict.errors:
        say(error)


if __name__ == "__main__":
    sys.exit(main())
