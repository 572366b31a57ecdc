"""Programming tasks: the reply's Python code is run on the inputs of its tests, in a sandbox with limits."""

import asyncio
import math
from pathlib import Path
from typing import Any, ClassVar

import orjson
from fastapi import FastAPI
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, PrivateAttr, model_validator

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseRunRequest,
    BaseVerifyRequest,
    BaseVerifyResponse,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import FailedCallError, SandboxCreateError
from nemo_gym_lite.reward_profile import compute_pass_majority_metrics, compute_subset_metrics, highest_k_metrics
from nemo_gym_lite.sandbox import (
    AsyncSandbox,
    SandboxExecResult,
    SandboxResources,
    SandboxSpec,
    get_provider_class,
    resolve_provider_config,
    resolve_provider_metadata,
)
from nemo_gym_lite.serving.failures import json_of
from resources_servers.code_gen.grading import code_of, is_expected

_RUNNER = (Path(__file__).parent / "runner.py").read_text()
_ESCAPED = 6
"""Bytes of JSON that one byte of output takes at most."""


class CompCodingResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration.

    Attributes:
        sandbox_provider: Name of a top-level block, or a block: `{subprocess: {}}`, `{docker: {network: none}}`.
        image: What containers are made of; it must have `python3`.
        num_processes: Sandboxes at once.
        unit_test_timeout_secs: Seconds for one test, of the clock and of the CPU.
        timeout_s: Seconds for all tests of a reply.
        memory_mib: Memory of one process.
        output_kib: Output of one test.
        file_mib: Size of one file that the code writes.
        processes: Processes that the code may start; the subprocess provider cannot hold root to it.
    """

    REVERIFY_MODE: ClassVar[ReverifyMode] = ReverifyMode.STATELESS

    sandbox_provider: str | dict[str, Any] = Field(default_factory=lambda: {"subprocess": {}})
    image: str | None = None
    num_processes: PositiveInt = 2
    unit_test_timeout_secs: PositiveFloat = 6.0
    timeout_s: PositiveFloat = 60.0
    memory_mib: PositiveInt = 512
    output_kib: PositiveInt = 256
    file_mib: PositiveInt = 16
    processes: PositiveInt = 32


class UnitTests(BaseModel):
    """Inputs and outputs, as many of each.

    Attributes:
        inputs: What the program reads; for a function the JSON of each argument on a line of its own.
        outputs: What it should print; for a function the JSON of what it should return.
        fn_name: The function, or the method of a class `Solution`; null for a program.
    """

    inputs: list[str] = Field(min_length=1)
    outputs: list[str]
    fn_name: str | None = None

    @model_validator(mode="after")
    def _expect_pairs(self) -> "UnitTests":
        if len(self.inputs) != len(self.outputs):
            raise ValueError(f"{len(self.inputs)} inputs, but {len(self.outputs)} outputs")
        return self


class VerifierMetadata(BaseModel):
    """What the check needs of a row."""

    unit_tests: UnitTests
    difficulty: str | None = None


class CompCodingRunRequest(BaseRunRequest):
    """A row of the data."""

    verifier_metadata: VerifierMetadata


class CompCodingVerifyRequest(CompCodingRunRequest, BaseVerifyRequest):
    """A row of the data with the model's response."""


class CompCodingVerifyResponse(BaseVerifyResponse):
    """The verdict; `error` says what went wrong in the first test that failed."""

    extracted_model_code: str | None = None
    result: list[bool] | None = None
    fraction_passed: float = 0.0
    error: str | None = None
    difficulty: str | None = None


class CompCodingResourcesServer(SimpleResourcesServer):
    """Scores 1 if the code passes all tests, else 0."""

    config: CompCodingResourcesServerConfig

    _slots: asyncio.Semaphore = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Count sandboxes from here on."""
        super().model_post_init(context)
        self._slots = asyncio.Semaphore(self.config.num_processes)

    def setup_webserver(self) -> FastAPI:
        """Find out now whether there is the provider that the configuration names.

        Raises:
            SandboxConfigError: There is not.
        """
        for name in resolve_provider_config(*self._named()):
            get_provider_class(name)
        return super().setup_webserver()

    async def verify(self, body: CompCodingVerifyRequest) -> CompCodingVerifyResponse:
        """Run the reply's code on each input and compare what it gives.

        Raises:
            FailedCallError: The sandbox failed, which says nothing about the code.
        """
        tests, difficulty = body.verifier_metadata.unit_tests, body.verifier_metadata.difficulty
        code = code_of(body.response.output_text)
        if code is None:
            missing = "the reply holds no Python code between ``` fences"
            return CompCodingVerifyResponse(**dict(body), reward=0.0, error=missing, difficulty=difficulty)
        result, error = _grade(tests, await self._run(code, tests), self.config.timeout_s)
        return CompCodingVerifyResponse(
            **dict(body),
            reward=float(all(result)),
            extracted_model_code=code,
            result=result,
            fraction_passed=sum(result) / len(result),
            error=error,
            difficulty=difficulty,
        )

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k in percent, over all tasks and for each `difficulty`."""
        overall = compute_pass_majority_metrics(tasks, _scores)[0]
        return overall | compute_subset_metrics(tasks, "difficulty", _scores)

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        names = ("mean/reward", "mean/fraction_passed", "mean/input_tokens", "mean/output_tokens")
        key_metrics = {name: agent_metrics[name] for name in names if name in agent_metrics}
        for pattern in ("pass@1[avg-of-{k}]", "pass@{k}"):
            key_metrics |= highest_k_metrics(agent_metrics, pattern)
        return key_metrics

    def _named(self) -> tuple[str | Json, Any]:
        """The provider's block, or its name and where names are looked up."""
        return self.config.sandbox_provider, getattr(self.server_client, "global_config_dict", None)

    async def _run(self, code: str, tests: UnitTests) -> SandboxExecResult:
        """Play all tests in a sandbox of their own."""
        config = self.config
        task = {
            "inputs": tests.inputs,
            "fn_name": tests.fn_name,
            "timeout_s": config.unit_test_timeout_secs,
            "output_bytes": config.output_kib * 1024,
        }
        options = {
            "cpu_s": math.ceil(config.unit_test_timeout_secs) + 1,
            "file_mib": config.file_mib,
            "processes": config.processes,
            "output_bytes": 2**16 + _ESCAPED * config.output_kib * 1024 * len(tests.inputs),
        }
        spec = SandboxSpec(
            image=config.image,
            ttl_s=config.timeout_s + 60,
            files={"runner.py": _RUNNER, "solution.py": code, "task.json": orjson.dumps(task).decode()},
            metadata=resolve_provider_metadata(*self._named()),
            resources=SandboxResources(memory_mib=config.memory_mib),
            provider_options=options,
        )
        try:
            async with self._slots, AsyncSandbox(resolve_provider_config(*self._named()), spec) as sandbox:
                await sandbox.start()
                ended = await sandbox.exec("exec python3 -I -B runner.py", timeout_s=config.timeout_s)
        except (SandboxCreateError, OSError) as error:
            raise FailedCallError("verify_failed", f"{config.name}: {error}") from error
        if ended.error_type == "sandbox" or ended.return_code in {126, 127}:
            raise FailedCallError("verify_failed", f"{config.name}: the sandbox cannot run code: {ended.stderr}")
        return ended


def _grade(tests: UnitTests, ended: SandboxExecResult, timeout_s: float) -> tuple[list[bool], str | None]:
    """Which tests passed, and what went wrong in the first that did not."""
    outcomes = [json_of(line.encode()) for line in (ended.stdout or "").splitlines()[: len(tests.inputs)]]
    passed = [
        outcome.get("status") == "ok"
        and is_expected(str(outcome.get("output")), expected, is_value=tests.fn_name is not None)
        for outcome, expected in zip(outcomes, tests.outputs, strict=False)
    ]
    result = passed + [False] * (len(tests.inputs) - len(passed))
    if all(result):
        return result, None
    first = result.index(False)
    if first < len(outcomes):
        return result, f"test {first}: {outcomes[first].get('error') or 'another output is expected'}"
    stopped = {"timeout": f"all tests together took longer than {timeout_s:g} s", "output_limit": "too much output"}
    return result, stopped.get(ended.error_type or "", "not run")


def _scores(row: dict[str, Any]) -> dict[str, float]:
    return {"accuracy": float(row.get("reward") or 0.0), "fraction_passed": float(row.get("fraction_passed") or 0.0)}


if __name__ == "__main__":
    CompCodingResourcesServer.run_webserver()
