"""An environment whose check does what the row says: spins, crashes, takes all memory, or just compares."""

import ctypes
import os
import subprocess
import time
from typing import Any

from pydantic import ConfigDict, Field

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym_lite.judge import JudgeError

LOADED = os.getpid()


class HazardsConfig(BaseResourcesServerConfig):
    broken: str = ""
    disarmed: bool = False


class HazardsRequest(BaseVerifyRequest):
    hazard: str = ""
    work_s: float = 0.0


class HazardsReply(BaseVerifyResponse):
    model_config = ConfigDict(extra="allow")
    pid: int
    loaded_by: int


class Hazards(SimpleResourcesServer):
    config: HazardsConfig
    kept: list[Any] = Field(default_factory=list)

    def model_post_init(self, context: Any) -> None:
        if self.config.broken:
            raise RuntimeError(self.config.broken)

    async def verify(self, body: HazardsRequest) -> HazardsReply:
        ends_at = time.perf_counter() + body.work_s
        while time.perf_counter() < ends_at:
            pass
        match "" if self.config.disarmed else body.hazard:
            case "spins":
                while True:
                    pass
            case "crashes":
                ctypes.string_at(0)
            case "exits":
                os._exit(3)
            case "allocates":
                self.kept.append(bytearray(8 * 2**30))
            case "leaks":
                self.kept.append(bytearray(64 * 2**20))
            case "starts another":
                subprocess.Popen(["sleep", "987"])
                time.sleep(60)
            case "raises":
                raise ValueError("a bug of the check")
            case "judge":
                raise JudgeError("no judge answered")
        return HazardsReply(**body.model_dump(), reward=1.0, pid=os.getpid(), loaded_by=LOADED)


if __name__ == "__main__":
    Hazards.run_webserver()
