"""Asks the model twice: for an answer, and, after a reminder, for the answer it stands by. Every step is a request."""

from typing import List, Optional

from fastapi import Request, Response
from pydantic import ConfigDict, Field

from nemo_gym.base_resources_server import (
    AggregateMetrics,
    AggregateMetricsRequest,
    BaseRunRequest,
    BaseVerifyRequest,
    BaseVerifyResponse,
)
from nemo_gym.base_responses_api_agent import BaseResponsesAPIAgentConfig, Body, SimpleResponsesAPIAgent
from nemo_gym.config_types import ModelServerRef, ResourcesServerRef
from nemo_gym.openai_utils import (
    NeMoGymEasyInputMessage,
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
    accumulate_response_usage,
)
from nemo_gym.server_utils import get_response_json, raise_for_status


class SecondLookAgentConfig(BaseResponsesAPIAgentConfig):
    resources_server: ResourcesServerRef
    model_server: ModelServerRef
    reminder: str = "Look again, then answer."
    looks: int = Field(default=2, ge=1)


class SecondLookRunRequest(BaseRunRequest):
    model_config = ConfigDict(extra="allow")


class SecondLookVerifyRequest(BaseVerifyRequest):
    model_config = ConfigDict(extra="allow")


class SecondLookVerifyResponse(BaseVerifyResponse):
    model_config = ConfigDict(extra="allow")

    looks: Optional[int] = None


class SecondLookAgent(SimpleResponsesAPIAgent):
    config: SecondLookAgentConfig

    async def responses(
        self,
        request: Request,
        response: Response,
        body: NeMoGymResponseCreateParamsNonStreaming = Body(),
    ) -> NeMoGymResponse:
        body = body.model_copy(deep=True)
        if isinstance(body.input, str):
            body.input = [NeMoGymEasyInputMessage(role="user", content=body.input)]
        added: List = []
        usage = None
        model_cookies = None
        environment_cookies = request.cookies
        for look in range(self.config.looks):
            if look:
                added.append(NeMoGymEasyInputMessage(role="user", content=self.config.reminder))
            asked = body.model_copy(update={"input": body.input + added})
            reply = await self.server_client.post(
                server_name=self.config.model_server.name,
                url_path=self.url_path_for_request("/v1/responses", request),
                json=asked,
                cookies=model_cookies,
            )
            await raise_for_status(reply)
            model_cookies = reply.cookies
            answer = NeMoGymResponse.model_validate(await get_response_json(reply))
            added.extend(answer.output)
            usage = accumulate_response_usage(usage, answer.usage)
        for name, value in [*environment_cookies.items(), *model_cookies.items()]:
            response.set_cookie(name, getattr(value, "value", value))
        answer.output = [item for item in added if not isinstance(item, NeMoGymEasyInputMessage)]
        answer.usage = usage
        return answer

    async def run(self, request: Request, body: SecondLookRunRequest) -> SecondLookVerifyResponse:
        environment = self.config.resources_server.name
        seeded = await self.server_client.post(
            server_name=environment, url_path="/seed_session", json=body.model_dump(), cookies=request.cookies
        )
        await raise_for_status(seeded)
        played = await self.server_client.post(
            server_name=self.config.name,
            url_path=self.url_path_for_run("/v1/responses", body),
            json=body.responses_create_params,
            cookies=seeded.cookies,
        )
        await raise_for_status(played)
        to_verify = SecondLookVerifyRequest.model_validate(
            body.model_dump() | {"response": await get_response_json(played)}
        )
        verified = await self.server_client.post(
            server_name=environment, url_path="/verify", json=to_verify.model_dump(), cookies=played.cookies
        )
        await raise_for_status(verified)
        verdict = await get_response_json(verified)
        return SecondLookVerifyResponse.model_validate(verdict | {"looks": self.config.looks})

    async def aggregate_metrics(self, body: AggregateMetricsRequest = Body()) -> AggregateMetrics:
        reply = await self.server_client.post(
            server_name=self.config.resources_server.name, url_path="/aggregate_metrics", json=body
        )
        await raise_for_status(reply)
        return AggregateMetrics.model_validate(await get_response_json(reply))


if __name__ == "__main__":
    SecondLookAgent.run_webserver()
