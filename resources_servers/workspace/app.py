"""An office to work in with tools: e-mails, a calendar and files, whose state is compared at the end."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from nemo_gym_lite.base_resources_server import (
    BaseResourcesServerConfig,
    BaseSeedSessionRequest,
    BaseSeedSessionResponse,
    BaseVerifyRequest,
    BaseVerifyResponse,
    SimpleResourcesServer,
)
from nemo_gym_lite.reward_profile import compute_pass_majority_metrics, compute_subset_metrics, highest_k_metrics
from nemo_gym_lite.server_utils import SESSION_ID_KEY
from resources_servers.workspace.office import Missing, Office, differences, load_seed
from resources_servers.workspace.tools import TOOLS, Tool, run_call


class WorkspaceResourcesServerConfig(BaseResourcesServerConfig):
    """Configuration."""

    max_sessions: int = Field(default=100_000, ge=1, description="sessions kept at once, oldest dropped")


class ReferenceCall(BaseModel):
    """One call of the reference."""

    name: str
    arguments: dict[str, Any]


class ReferenceTurn(BaseModel):
    """One turn of the reference."""

    tool_calls: list[ReferenceCall] = Field(default_factory=list)


class WorkspaceVerifyRequest(BaseVerifyRequest):
    """A row of the data with the model's response; the calls of `reference_turns` make the state that is due."""

    reference_turns: list[ReferenceTurn | str]


class WorkspaceVerifyResponse(BaseVerifyResponse):
    """The verdict; `missing` and `unexpected` count the records in which the states differ."""

    missing: int
    unexpected: int
    num_tool_calls: int


class WorkspaceResourcesServer(SimpleResourcesServer):
    """Keeps one office per session; the reward is 1 if it ends as the reference's does."""

    config: WorkspaceResourcesServerConfig
    _offices: OrderedDict[str, Office] = PrivateAttr(default_factory=OrderedDict)

    def setup_webserver(self) -> FastAPI:
        """Add a route for each tool."""
        app = super().setup_webserver()
        for tool in TOOLS.values():
            app.post(f"/{tool.name}")(self._route(tool))
        return app

    async def seed_session(self, request: Request, body: BaseSeedSessionRequest) -> BaseSeedSessionResponse:
        """Give the session an office as it is at first."""
        self._offices[request.session[SESSION_ID_KEY]] = Office(load_seed())
        # an episode that fails before its check leaves its office behind, so the table needs a bound
        while len(self._offices) > self.config.max_sessions:
            self._offices.popitem(last=False)
        return BaseSeedSessionResponse()

    async def verify(self, request: Request, body: WorkspaceVerifyRequest) -> WorkspaceVerifyResponse:
        """Compare the session's office with the reference's; it is gone afterwards."""
        office = self._office(request)
        del self._offices[request.session[SESSION_ID_KEY]]
        missing, unexpected = differences(office_after(body.reference_turns), office)
        return WorkspaceVerifyResponse(
            **dict(body),
            reward=float(not missing and not unexpected),
            missing=len(missing),
            unexpected=len(unexpected),
            num_tool_calls=sum(item.type == "function_call" for item in body.response.output),
        )

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return pass@k in percent, over all tasks and for each `category` of the rows."""
        return compute_pass_majority_metrics(tasks)[0] | compute_subset_metrics(tasks, "category")

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        """Pick the numbers that a reader looks at first."""
        names = ("mean/reward", "mean/missing", "mean/unexpected", "mean/num_tool_calls")
        key_metrics: dict[str, Any] = {name: agent_metrics[name] for name in names if name in agent_metrics}
        for pattern in ("pass@1[avg-of-{k}]", "pass@{k}"):
            key_metrics |= highest_k_metrics(agent_metrics, pattern)
        return key_metrics

    def _route(self, tool: type[Tool]) -> Callable[..., Any]:
        async def call(request: Request, body: Tool) -> Any:
            try:
                return body.run(self._office(request))
            except Missing as problem:
                raise HTTPException(404, str(problem)) from problem

        call.__name__, call.__doc__ = tool.name, tool.__doc__
        call.__annotations__["body"] = tool  # FastAPI reads the arguments' schema here
        return call

    def _office(self, request: Request) -> Office:
        session_id: str = request.session[SESSION_ID_KEY]
        if session_id not in self._offices:
            raise HTTPException(409, "this session has no workspace: never seeded, or verified already")
        return self._offices[session_id]


def office_after(turns: list[ReferenceTurn | str]) -> Office:
    """The office after the calls of a reference.

    Raises:
        HTTPException: A call fails: the row is wrong, and no rollout of it can be scored.
    """
    office = Office(load_seed())
    for call in (call for turn in turns if isinstance(turn, ReferenceTurn) for call in turn.tool_calls):
        try:
            run_call(office, call.name, call.arguments)
        except (Missing, ValidationError) as error:
            raise HTTPException(422, f"the row's reference cannot be played: {call.name}: {error}") from error
    return office


if __name__ == "__main__":
    WorkspaceResourcesServer.run_webserver()
