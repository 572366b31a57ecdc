"""A folder in which real commands run against engines, and what they leave there."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from benchmarks.measured import command_of, environment
from benchmarks.rows import write_rows
from benchmarks.soak.engines import EngineProcess

MODEL = "++policy_model.responses_api_models.vllm_model"
CONFIGS = "responses_api_models/vllm_model/configs/vllm_model.yaml,resources_servers/{0}/configs/{0}.yaml"


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended.

    Attributes:
        code: Its exit code, negative after a signal.
        wall_s: Seconds that it took.
        cpu_s: User and system CPU of the command and everything that it started and waited for, in seconds.
        peak_mb: Peak resident memory of its largest process, in megabytes.
        log: What it printed.
    """

    code: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    log: str

    def checked(self, *codes: int) -> "Ended":
        """Itself.

        Raises:
            RuntimeError: It ended with none of `codes` (0 if none are given).
        """
        if self.code not in (codes or (0,)):
            raise RuntimeError(f"the command ended with {self.code}:\n{self.log[-2000:]}")
        return self


class Command:
    """A running command, the leader of a process group of its own."""

    def __init__(self, words: Sequence[str], folder: Path, more: Mapping[str, str] | None = None) -> None:
        self.log = folder / f"output-{time.time_ns()}.log"
        self.began_s = time.time()
        with self.log.open("wb") as output:
            self._child = subprocess.Popen(
                words,
                cwd=folder,
                env={**environment(), **(more or {})},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def runs(self) -> bool:
        """Whether it has not ended; does not reap it."""
        try:
            return bool(psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def until(self, what: str, true: Callable[[], object], timeout_s: float = 60.0, every_s: float = 0.05) -> None:
        """Return as soon as `true()` is, while the command runs.

        Raises:
            RuntimeError: It was not within `timeout_s`, or the command ended before.
        """
        give_up_s = time.time() + timeout_s
        while not true():
            if time.time() > give_up_s or not self.runs():
                end = "until the command ended" if not self.runs() else f"for {timeout_s:.0f} s"
                raise RuntimeError(f"waited in vain {end} until {what}:\n{self.log.read_text()[-2000:]}")
            time.sleep(every_s)

    def kill(self) -> Ended:
        """SIGKILL to the command and everything that it started."""
        os.killpg(self.pid, signal.SIGKILL)
        return self.end(10)

    def end(self, timeout_s: float = 900) -> Ended:
        """Wait for its end.

        Raises:
            RuntimeError: It did not end within `timeout_s`; it is killed.
        """
        give_up_s = time.time() + timeout_s
        while self.runs():
            if time.time() > give_up_s:
                os.killpg(self.pid, signal.SIGKILL)
                os.wait4(self.pid, 0)
                raise RuntimeError(f"the command did not end within {timeout_s:.0f} s:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        _, status, used = os.wait4(self.pid, 0)
        code = self._child.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.time() - self.began_s
        return Ended(code, wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, self.log.read_text())


class Place:
    """A folder with `env.yaml`, tasks and outputs.

    Args:
        folder: Made if it is not there.
        engines: What `policy_base_url` names.
        started: Gets every command that is started here, so that none outlives its scenario.
    """

    def __init__(self, folder: Path, engines: Sequence[EngineProcess], started: list[Command] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._started = folder, [] if started is None else started
        urls = ",".join(f"{engine.url}/v1" for engine in engines)
        (folder / "env.yaml").write_text(f"policy_base_url: {urls}\npolicy_api_key: EMPTY\npolicy_model_name: soak\n")

    def tasks(self, count: int, game: str = "gsm8k") -> Path:
        """A file of `count` tasks of an environment, each different."""
        path = self.folder / f"{game}-{count}.jsonl"
        return path if path.exists() else write_rows(path, count, with_tool=game == "simple_weather")

    def collect(self, tasks: Path, output: str = "out.jsonl", game: str = "gsm8k", **options: Any) -> list[str]:
        """The words of `ng_collect_rollouts`. Options that begin with `model.` are settings of the model's block."""
        ours = {name: value for name, value in options.items() if not name.startswith("model.")}
        model = {name.removeprefix("model."): value for name, value in options.items() if name.startswith("model.")}
        return [
            *command_of("nemo_gym_lite.cli.collect_rollouts"),
            f"+config_paths=[{CONFIGS.format(game)}]",
            f"+agent_name={game}_simple_agent",
            f"+input_jsonl_fpath={tasks}",
            f"+output_jsonl_fpath={self.folder / output}",
            *(f"+{name}={value}" for name, value in ours.items()),
            *(f"{MODEL}.{name}={value}" for name, value in model.items()),
        ]

    def start(self, words: Sequence[str], more: Mapping[str, str] | None = None) -> Command:
        """Start a command in this folder, with more variables in its environment."""
        self._started.append(Command(words, self.folder, more))
        return self._started[-1]

    def run(self, words: Sequence[str], timeout_s: float = 900, more: Mapping[str, str] | None = None) -> Ended:
        """Run a command to its end."""
        return self.start(words, more).end(timeout_s)

    def lines(self, name: str = "out.jsonl") -> int:
        """Lines of an output so far."""
        path = self.folder / name
        if not path.exists():
            return 0
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))

    def rows(self, name: str = "out.jsonl") -> Iterator[dict[str, Any]]:
        """The rows of an output."""
        path = self.folder / name
        if path.exists():
            with path.open("rb") as file:
                yield from map(orjson.loads, file)

    def identities(self, name: str = "out.jsonl") -> list[tuple[str, int]]:
        """What each row of an output is."""
        return [(row["_ng_key"], row["_ng_rollout_index"]) for row in self.rows(name)]

    def manifest(self, name: str = "out.jsonl") -> dict[str, Any]:
        """What the run says of itself."""
        path = self.folder / f"{Path(name).stem}_run.json"
        return dict(orjson.loads(path.read_bytes()))
