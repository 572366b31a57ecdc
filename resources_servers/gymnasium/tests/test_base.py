"""What an author of an environment in steps may rely on."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from pydantic import Field

from nemo_gym_lite.base_resources_server import BaseResourcesServerConfig
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.openai_utils import NeMoGymResponse
from nemo_gym_lite.server_utils import SESSION_ID_KEY, ServerClient
from resources_servers.gymnasium import EnvResetRequest, EnvStepRequest, GymnasiumServer, extract_text


def message(*texts):
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": parts}


def response(*items):
    return {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": list(items)}


class Countdown(GymnasiumServer):
    async def reset(self, metadata, session_id=None):
        self.session_state[session_id] = metadata["start"]
        return f"at {metadata['start']}", {"label": metadata.get("label")}

    async def step(self, action, metadata, session_id=None):
        self.session_state[session_id] -= 1
        left = self.session_state[session_id]
        return f"at {left}", 0.25, left == 0, extract_text(action) == "enough", {"said": extract_text(action)}


class Small(Countdown):
    MAX_SESSIONS = 2


class ClosesMore(Countdown):
    closed: list[str] = Field(default_factory=list)

    def setup_webserver(self):
        app = super().setup_webserver()
        app.post("/close")(self.close)
        return app

    async def close(self, request: Request) -> dict:
        return {"by": "the author"}

    async def close_session(self, session_id):
        self.closed.append(session_id)
        await super().close_session(session_id)


def made(cls, **settings):
    config = BaseResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="steps", **settings)
    return cls(config=config, server_client=MagicMock(spec=ServerClient))


def reset(client, start, **fields):
    return client.post("/reset", json={"responses_create_params": {"input": []}, "start": start, **fields})


def step(client, text="on", **fields):
    row = {"responses_create_params": {"input": []}, "start": 0, **fields}
    return client.post("/step", json={**row, "response": response(message(text))})


def test_reset_and_step_get_the_rows_own_fields_and_reply_as_the_protocol_says():
    client = TestClient(made(Countdown).setup_webserver())

    assert reset(client, 2, label="x").json() == {"observation": "at 2", "info": {"label": "x"}}
    assert step(client, "one").json() == {
        "observation": "at 1",
        "reward": 0.25,
        "terminated": False,
        "truncated": False,
        "info": {"said": "one"},
    }
    assert step(client).json()["terminated"] is True


def test_each_session_has_its_state_and_loses_it_when_it_is_over():
    server = made(Countdown)
    app = server.setup_webserver()
    first, second = TestClient(app), TestClient(app)
    reset(first, 1)
    reset(second, 5)
    assert sorted(server.session_state.values()) == [1, 5]

    assert step(first).json()["terminated"]
    assert list(server.session_state.values()) == [5]
    assert step(second, "enough").json()["truncated"]
    assert server.session_state == {}


def test_routes_are_those_of_the_protocol_and_may_be_prefixed():
    app = made(Countdown).setup_webserver()
    paths = {route.path for route in app.routes if route.path not in ("/openapi.json", "/redoc")}

    assert {path for path in paths if not path.startswith("/docs")} == {
        "/reset",
        "/step",
        "/aggregate_metrics",
        "/reverify_mode",
    }
    assert reset_status(TestClient(app), "/ng-rollout/4-2/reset") == 200


def reset_status(client, path):
    return client.post(path, json={"responses_create_params": {"input": []}, "start": 1}).status_code


def test_a_served_environment_can_be_closed():
    server = made(Countdown)
    with TestClient(server.build_app()) as client:
        reset(client, 3)
        assert client.post("/close", json={}).json() == {}
    assert server.session_state == {}


def test_an_authors_own_close_goes_first_and_the_hook_is_called_for_what_is_over():
    server = made(ClosesMore)
    with TestClient(server.build_app()) as client:
        assert client.post("/close", json={}).json() == {"by": "the author"}
        reset(client, 1)
        (session_id,) = server.session_state
        step(client)
    assert server.closed == [session_id]


def test_the_oldest_episodes_are_dropped_when_there_are_too_many():
    server = made(Small)
    app = server.setup_webserver()
    for start in (1, 2, 3):
        reset(TestClient(app), start)

    assert list(server.session_state.values()) == [2, 3]


def test_nothing_can_be_verified_later():
    server = made(Countdown)
    assert not server.verifies_later()
    assert not server.seeds_sessions()
    assert server.describe()["verifies_later"] is False


@pytest.mark.parametrize("settings", [{"verify_pool": {}}, {"expose_tools_over_mcp": True}])
def test_settings_that_mean_nothing_here_are_refused(settings):
    with pytest.raises(ConfigError, match="steps"):
        made(Countdown, **settings).setup_webserver()


async def test_the_endpoints_can_be_called_with_any_request_that_has_a_session():
    server = made(Countdown)
    request = SimpleNamespace(session={SESSION_ID_KEY: "s"})
    reset_body = EnvResetRequest(responses_create_params={"input": []}, start=2)
    step_body = EnvStepRequest(responses_create_params={"input": []}, response=response(message("go")))

    assert (await server._reset_endpoint(reset_body, request)).observation == "at 2"
    assert (await server._step_endpoint(step_body, request)).observation == "at 1"
    with pytest.raises(NotImplementedError):
        await server.verify(SimpleNamespace())


def test_text_is_that_of_all_messages_and_parts():
    call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}
    thought = {"type": "reasoning", "id": "t", "summary": []}
    spoken = NeMoGymResponse.model_validate(response(thought, message("hello ", "there"), call, message("!")))

    assert extract_text(spoken) == "hello there!"
    assert extract_text(NeMoGymResponse.model_validate(response())) == ""


def test_a_tool_output_names_its_call_and_holds_json():
    call = SimpleNamespace(call_id="c1")
    assert GymnasiumServer.tool_output(call, {"left": 3}) == {"call_id": "c1", "output": '{"left": 3}'}
