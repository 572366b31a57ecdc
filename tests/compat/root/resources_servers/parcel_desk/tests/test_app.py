from unittest.mock import MagicMock

import pytest
from app import Depot, Parcel, ParcelDeskConfig, ParcelDeskServer
from fastapi.testclient import TestClient

from nemo_gym.openai_utils import (
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
    NeMoGymResponseOutputMessage,
    NeMoGymResponseOutputText,
)
from nemo_gym.server_utils import ServerClient


def make_row(**more):
    return {
        "responses_create_params": {"input": [{"role": "user", "content": "move the lamp"}]},
        "parcels": {"lamp": {"shelf": "A"}},
        "wanted": {"lamp": {"shelf": "C", "held": True}},
        **more,
    }


def make_response(text="done"):
    return NeMoGymResponse(
        id="resp_1",
        created_at=0.0,
        model="m",
        object="response",
        output=[
            NeMoGymResponseOutputMessage(
                id="msg_1",
                content=[NeMoGymResponseOutputText(annotations=[], text=text, type="output_text")],
                role="assistant",
                status="completed",
                type="message",
            )
        ],
        parallel_tool_calls=False,
        tool_choice="auto",
        tools=[],
    ).model_dump()


class TestApp:
    @pytest.fixture
    def server(self) -> ParcelDeskServer:
        config = ParcelDeskConfig(host="0.0.0.0", port=8080, entrypoint="", name="desk", closed_shelves=["X"])
        return ParcelDeskServer(config=config, server_client=MagicMock(spec=ServerClient))

    def test_a_server_without_a_name_has_an_app(self) -> None:
        config = ParcelDeskConfig(host="0.0.0.0", port=8080, entrypoint="", name="")
        server = ParcelDeskServer(config=config, server_client=MagicMock(spec=ServerClient))
        assert TestClient(server.setup_webserver()).get("/reverify_mode").json() == "unsupported"

    def test_sanity(self, server) -> None:
        assert server.config.fee == 2.5
        assert server._greeting == "desk desk is open"
        assert Depot(parcels={"lamp": Parcel(shelf="A")}).moves == 0

    def test_one_client_keeps_its_depot_over_tools_and_verify(self, server) -> None:
        app = server.setup_webserver()
        client = TestClient(app)
        assert client.post("/seed_session", json=make_row()).json() == {"greeting": "desk desk is open"}
        assert client.post("/move", json={"parcel": "lamp", "shelf": "X"}).text == "shelf X is closed"
        assert client.post("/move", json={"parcel": "lamp", "shelf": "C"}).text == "lamp is on shelf C"
        assert client.post("/hold", json={"parcel": "lamp"}).text == "lamp is held"
        assert client.post("/look", json={}).text == "lamp on C"
        reply = client.post("/verify", json=make_row(response=make_response(), remark="kept"))
        assert reply.status_code == 200, reply.text
        verdict = reply.json()
        assert (verdict["reward"], verdict["moves"], verdict["fees"]) == (1.0, 1, 2.5)
        assert verdict["remark"] == "kept"
        assert verdict["response"]["output"][0]["content"][0]["text"] == "done"
        assert server.depots == {}

    def test_two_clients_do_not_share_a_depot(self, server) -> None:
        app = server.setup_webserver()
        first, second = TestClient(app), TestClient(app)
        for client in (first, second):
            client.post("/seed_session", json=make_row())
        first.post("/move", json={"parcel": "lamp", "shelf": "C"})
        assert second.post("/look", json={}).text == "lamp on A"
        assert len(server.depots) == 2
        name = server.get_session_middleware_key()
        assert name == "ParcelDeskServer___desk"
        assert first.cookies[name] != second.cookies[name]

    def test_a_stranger_is_sent_away_and_odd_calls_are_answered(self, server) -> None:
        app = server.setup_webserver()
        client = TestClient(app)
        assert client.post("/look", json={}).status_code == 409
        client.post("/seed_session", json=make_row())
        assert client.post("/burn", json={}).text == "no such tool: burn"
        assert client.post("/move", json={"parcel": "lamp"}).text.startswith("refused: TypeError")
        assert client.post("/seed_session", json={"responses_create_params": {"input": "hi"}}).status_code == 422

    def test_mode_and_metrics_have_their_routes(self, server) -> None:
        client = TestClient(server.setup_webserver())
        assert client.get("/reverify_mode").json() == "unsupported"
        rows = [{"reward": reward, "_ng_task_index": 0} for reward in (0.0, 1.0)]
        metrics = client.post("/aggregate_metrics", json={"verify_responses": rows}).json()
        assert metrics["key_metrics"] == {"mean/reward": 0.5}

    async def test_seeding_can_be_called_without_a_web_server(self, server) -> None:
        request = MagicMock()
        request.session = {"session_id": "abc"}
        params = NeMoGymResponseCreateParamsNonStreaming(input="hi")
        body = MagicMock(parcels={"lamp": Parcel(shelf="A")}, responses_create_params=params)
        await server.seed_session(request, body)
        assert server.depots["abc"].parcels["lamp"].shelf == "A"
