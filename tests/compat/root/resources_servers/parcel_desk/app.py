"""A parcel desk. Whatever tool the model names arrives at one catch-all route; each session has a depot of its own."""

from typing import Any, Dict, List, Optional

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from nemo_gym.base_resources_server import (
    BaseResourcesServerConfig,
    BaseRunRequest,
    BaseSeedSessionRequest,
    BaseSeedSessionResponse,
    BaseVerifyRequest,
    BaseVerifyResponse,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym.server_utils import SESSION_ID_KEY


class ParcelDeskConfig(BaseResourcesServerConfig):
    REVERIFY_MODE = ReverifyMode.UNSUPPORTED

    fee: float = 2.5
    closed_shelves: List[str] = Field(default_factory=list)


class Parcel(BaseModel):
    shelf: str
    held: bool = False


class ParcelDeskRunRequest(BaseRunRequest):
    model_config = ConfigDict(extra="allow")

    parcels: Dict[str, Parcel]
    wanted: Dict[str, Parcel]


class ParcelDeskSeedRequest(ParcelDeskRunRequest, BaseSeedSessionRequest):
    pass


class ParcelDeskSeedResponse(BaseSeedSessionResponse):
    greeting: str


class ParcelDeskVerifyRequest(ParcelDeskRunRequest, BaseVerifyRequest):
    pass


class ParcelDeskVerifyResponse(ParcelDeskVerifyRequest, BaseVerifyResponse):
    moves: int
    fees: float
    left_as: Optional[Dict[str, Parcel]] = None


class Depot(BaseModel):
    parcels: Dict[str, Parcel]
    moves: int = 0


class ParcelDeskServer(SimpleResourcesServer):
    config: ParcelDeskConfig
    depots: Dict[str, Depot] = Field(default_factory=dict)
    _greeting: str = ""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        self._greeting = f"desk {self.config.name} is open"

    def setup_webserver(self) -> FastAPI:
        app = super().setup_webserver()
        app.post("/{tool_name}")(self.use_tool)
        return app

    async def seed_session(self, request: Request, body: ParcelDeskSeedRequest) -> ParcelDeskSeedResponse:
        parcels = {name: parcel.model_copy() for name, parcel in body.parcels.items()}
        self.depots[request.session[SESSION_ID_KEY]] = Depot(parcels=parcels)
        return ParcelDeskSeedResponse(greeting=self._greeting)

    async def use_tool(self, tool_name: str, request: Request) -> PlainTextResponse:
        depot = self.depots.get(request.session[SESSION_ID_KEY])
        if depot is None:
            raise HTTPException(status_code=409, detail="nobody opened this desk")
        arguments = await request.json()
        tool = getattr(self, f"tool_{tool_name}", None)
        if tool is None:
            return PlainTextResponse(f"no such tool: {tool_name}")
        try:
            return PlainTextResponse(tool(depot, **arguments))
        except (TypeError, KeyError) as error:
            return PlainTextResponse(f"refused: {error!r}")

    def tool_move(self, depot: Depot, parcel: str, shelf: str) -> str:
        if shelf in self.config.closed_shelves:
            return f"shelf {shelf} is closed"
        depot.parcels[parcel].shelf = shelf
        depot.moves += 1
        return f"{parcel} is on shelf {shelf}"

    def tool_hold(self, depot: Depot, parcel: str) -> str:
        depot.parcels[parcel].held = True
        return f"{parcel} is held"

    def tool_look(self, depot: Depot) -> str:
        return ", ".join(f"{name} on {parcel.shelf}" for name, parcel in sorted(depot.parcels.items()))

    async def verify(self, request: Request, body: ParcelDeskVerifyRequest) -> ParcelDeskVerifyResponse:
        depot = self.depots.pop(request.session[SESSION_ID_KEY])
        return ParcelDeskVerifyResponse(
            **body.model_dump(),
            reward=1.0 if depot.parcels == body.wanted else 0.0,
            moves=depot.moves,
            fees=depot.moves * self.config.fee,
            left_as=depot.parcels,
        )


if __name__ == "__main__":
    ParcelDeskServer.run_webserver()
