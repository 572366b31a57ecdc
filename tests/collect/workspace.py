"""A user's working directory, in which real commands run as processes of their own."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

VLLM = "responses_api_models/vllm_model/configs/vllm_model.yaml"


@dataclass
class Finished:
    code: int
    out: str
    err: str


@dataclass
class Workspace:
    """One user's working directory."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    async def start(self, command: str, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"nemo_gym_lite.cli.{command}", *words),
            cwd=self.path,
            env={**os.environ, "XDG_STATE_HOME": str(self.path / "state"), **self.environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def run(self, command: str, *words: str, timeout_s: float = 120) -> Finished:
        child = await self.start(command, *words)
        try:
            out, err = await asyncio.wait_for(child.communicate(), timeout_s)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
            raise
        return Finished(child.returncode, out.decode(), err.decode())

    async def collect(self, *words: str, timeout_s: float = 120) -> Finished:
        return await self.run("collect_rollouts", *words, timeout_s=timeout_s)

    def points_to(self, *base_urls: str, model: str = "simulated") -> None:
        self.write(
            "env.yaml",
            f"policy_base_url: {','.join(base_urls)}\npolicy_api_key: EMPTY\npolicy_model_name: {model}\n",
        )

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def write_tasks(self, name: str, count: int, text: str = "How much is {n} plus {n}?") -> Path:
        rows = (
            {
                "responses_create_params": {"input": [{"role": "user", "content": text.format(n=n)}]},
                "question": text.format(n=n),
                "expected_answer": str(2 * n),
            }
            for n in range(count)
        )
        return self.write(name, "".join(orjson.dumps(row).decode() + "\n" for row in rows))

    def rows(self, name: str) -> list[dict]:
        path = self.path / name
        return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def json(self, name: str):
        return orjson.loads((self.path / name).read_bytes())


def arguments(environment: str = "gsm8k", output: str = "results/rollouts.jsonl", **more: object) -> list[str]:
    """The usual words of `ng_collect_rollouts` for one of our environments behind vllm_model."""
    options = {
        "agent_name": f"{environment}_simple_agent",
        "input_jsonl_fpath": f"resources_servers/{environment}/data/example.jsonl",
        "output_jsonl_fpath": output,
        **more,
    }
    config = f"+config_paths=[{VLLM},resources_servers/{environment}/configs/{environment}.yaml]"
    return [config, *(f"+{name}={value}" for name, value in options.items())]


def identities(rows: Sequence[dict]) -> list[tuple]:
    return [(row["_ng_key"], row["_ng_rollout_index"]) for row in rows]


def children_of(parent: int) -> list[int]:
    """Process ids of the children of a process."""
    return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs, or could."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_gone(pids: Iterable[int]) -> None:
    async with asyncio.timeout(20):
        while any(is_alive(pid) for pid in pids):
            await asyncio.sleep(0.05)
