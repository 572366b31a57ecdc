"""What the office promises: tools that do what they say, sessions of their own, and a check of the state alone."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.server_utils import ServerClient
from resources_servers.workspace.app import WorkspaceResourcesServer, WorkspaceResourcesServerConfig
from resources_servers.workspace.office import Office, differences, load_seed
from resources_servers.workspace.tools import TOOLS, run_call

ROWS = [json.loads(line) for line in (Path(__file__).parents[1] / "data/example.jsonl").read_text().splitlines()]
TOMAS = "tomas@tidemuseum.example"
MAIL = {"to": [TOMAS], "subject": "Ladder", "body": "Please bring it."}


def made(**settings):
    config = WorkspaceResourcesServerConfig(host="127.0.0.1", port=1, entrypoint="app.py", name="workspace", **settings)
    neighbours = ServerClient(head_server_config=HeadServerConfig(), global_config_dict=OmegaConf.create({}))
    return WorkspaceResourcesServer(config=config, server_client=neighbours)


@pytest.fixture
def app():
    return made().setup_webserver()


def session(app):
    client = TestClient(app)
    assert client.post("/seed_session", json={}).json() == {}
    return client


def call(client, name, **arguments):
    return client.post(f"/{name}", json=arguments)


def turn(name, **arguments):
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def verify(client, *reference_turns, **fields):
    called = {"type": "function_call", "name": "send_email", "arguments": "{}", "call_id": "c", "id": "f"}
    response = {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [called]}
    row = {"responses_create_params": {"input": "work"}, "reference_turns": list(reference_turns), **fields}
    return client.post("/verify", json={**row, "response": response})


def test_a_session_that_does_what_the_reference_does_earns_1(app):
    client = session(app)
    call(client, "send_email", **MAIL)
    verdict = verify(client, turn("send_email", **MAIL), "Done.").json()
    assert (verdict["reward"], verdict["missing"], verdict["unexpected"]) == (1.0, 0, 0)
    assert verdict["num_tool_calls"] == 1


def test_doing_nothing_too_much_or_something_else_earns_0(app):
    due = turn("send_email", **MAIL)
    lazy, eager, wrong = session(app), session(app), session(app)
    for client in (eager, eager, wrong):
        call(client, "send_email", **MAIL | ({"subject": "Stairs"} if client is wrong else {}))

    verdicts = [verify(client, due).json() for client in (lazy, eager, wrong)]
    assert [(each["reward"], each["missing"], each["unexpected"]) for each in verdicts] == [
        (0.0, 1, 0),
        (0.0, 0, 1),
        (0.0, 1, 1),
    ]


def test_reading_order_case_and_spaces_do_not_count(app):
    client = session(app)
    call(client, "search_emails", text="paint")
    call(client, "move_email", email_id="e06", folder="trash")
    people = [TOMAS.upper(), "lea@tidemuseum.example"]
    call(client, "send_email", to=people, subject="ladder", body="Please  bring\nit. ")
    due = turn("send_email", to=["lea@tidemuseum.example", TOMAS], subject="Ladder", body="Please bring it.")
    assert verify(client, due, turn("move_email", email_id="e06", folder="trash")).json()["reward"] == 1.0


def test_each_session_has_an_office_of_its_own_and_none_after_the_check(app):
    first, second = session(app), session(app)
    call(first, "delete_file", path="notes/keys.txt")
    assert call(first, "read_file", path="notes/keys.txt").status_code == 404
    assert "boat shed" in call(second, "read_file", path="notes/keys.txt").json()["text"]
    assert verify(second).json()["reward"] == 1.0
    assert verify(second).status_code == 409
    assert call(TestClient(app), "list_files").status_code == 409


def test_the_oldest_offices_are_dropped_when_there_are_too_many():
    app = made(max_sessions=2).setup_webserver()
    clients = [session(app) for _ in range(3)]
    assert [call(client, "list_files").status_code for client in clients] == [409, 200, 200]


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("read_email", {"email_id": "e99"}, 404),
        ("move_email", {"email_id": "e01", "folder": "attic"}, 422),
        ("send_email", {"to": [], "subject": "x", "body": "y"}, 422),
        ("send_email", {"to": ["Tomas"], "subject": "x", "body": "y"}, 422),
        ("create_event", {"title": "x", "start": "tomorrow", "minutes": 30, "participants": []}, 422),
        ("create_event", {"title": "x", "start": "2026-03-05 10:00", "minutes": 0, "participants": []}, 422),
        ("change_event", {"event_id": "v99", "minutes": 5}, 404),
        ("delete_event", {"event_id": "v99"}, 404),
        ("delete_file", {"path": "nowhere.txt"}, 404),
        ("read_file", {"file": "notes/keys.txt"}, 422),
    ],
)
def test_calls_that_cannot_be_done_say_why_and_change_nothing(app, name, arguments, status):
    client = session(app)
    reply = call(client, name, **arguments)
    assert reply.status_code == status
    assert reply.json()["detail"]
    assert verify(client).json()["reward"] == 1.0


def test_people_are_found_by_part_of_their_name(app):
    assert call(session(app), "find_person", person="tomas").json() == {"Tomas Okafor": TOMAS}


def test_searches_look_into_one_folder_and_leave_bodies_out(app):
    client = session(app)
    assert [email["id"] for email in call(client, "search_emails", text="ladder", folder="sent").json()] == ["e15"]
    assert all("body" not in email for email in call(client, "search_emails").json())


def test_a_reply_goes_to_the_sender_under_the_same_subject(app):
    client = session(app)
    sent = call(client, "reply_to_email", email_id="e01", body="Yes.").json()["sent"]
    email = call(client, "read_email", email_id=sent).json()
    assert (email["to"], email["subject"], email["folder"]) == ([TOMAS], "Re: Lighting in hall 2", "sent")
    again = call(client, "reply_to_email", email_id=sent, body="Thanks.").json()["sent"]
    assert call(client, "read_email", email_id=again).json()["subject"] == "Re: Lighting in hall 2"


def test_events_are_listed_by_day_and_change_only_where_asked(app):
    client = session(app)
    (dentist,) = [each for each in call(client, "list_events", first_day="2026-03-04", last_day="2026-03-04").json()
                  if each["title"] == "Dentist"]  # fmt: skip
    changed = call(client, "change_event", event_id=dentist["id"], minutes=45).json()
    assert changed == {**dentist, "minutes": 45}


def test_planned_events_keep_their_ids_apart(app):
    client = session(app)
    event = {"title": "x", "start": "2026-03-05 10:00", "minutes": 5, "participants": []}
    first, second = (call(client, "create_event", **event).json()["id"] for _ in range(2))
    call(client, "delete_event", event_id=first)
    third = call(client, "create_event", **event).json()["id"]
    assert len({second, third}) == 2


def test_files_are_listed_by_folder_and_replaced(app):
    client = session(app)
    call(client, "write_file", path="/lists/shopping.txt", text="rope")
    assert call(client, "read_file", path="lists/shopping.txt").json()["text"] == "rope"
    assert call(client, "list_files", folder="lists/").json() == [
        "lists/lost_and_found.txt", "lists/shopping.txt", "lists/volunteers.txt",
    ]  # fmt: skip


def test_a_reference_that_cannot_be_played_is_an_error_and_not_reward_0(app):
    for wrong in (turn("read_email", email_id="e99"), turn("fly"), turn("read_file")):
        reply = verify(session(app), wrong)
        assert reply.status_code == 422
        assert "reference cannot be played" in reply.text


def test_an_office_shares_its_records_with_the_seed_but_not_its_changes():
    changed = Office(load_seed())
    run_call(changed, "move_email", {"email_id": "e01", "folder": "trash"})
    fresh = Office(load_seed())
    assert fresh.emails["e02"] is changed.emails["e02"]
    assert [len(side) for side in differences(fresh, changed)] == [1, 1]


def test_metrics_come_overall_and_by_category():
    server = made()
    emails = [{"reward": reward, "category": "email"} for reward in (1.0, 0.0)]
    metrics = server.compute_metrics([emails, [{"reward": 0.0, "category": "mixed"}]])
    assert metrics["email/pass@2/accuracy"] == pytest.approx(100)
    assert metrics["mixed/pass@1/accuracy"] == 0
    assert "pass@2/accuracy" in server.get_key_metrics(metrics)


def test_the_check_needs_its_session_so_nothing_is_verified_later():
    assert not made().verifies_later()


def test_the_data_holds_at_least_24_different_tasks_of_four_categories():
    asked = [row["responses_create_params"]["input"][1]["content"] for row in ROWS]
    assert len(set(asked)) == len(ROWS) >= 24
    assert {row["category"] for row in ROWS} == {"email", "calendar", "files", "mixed"}


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_row_offers_the_tools_as_they_are_and_its_reference_earns_1(app, row):
    offered = {tool["name"]: tool for tool in row["responses_create_params"]["tools"]}
    assert offered == {name: TOOLS[name].offer() for name in offered}
    client = session(app)
    calls = [one for turn in row["reference_turns"] if isinstance(turn, dict) for one in turn["tool_calls"]]
    for one in calls:
        assert one["name"] in offered
        assert call(client, one["name"], **one["arguments"]).status_code == 200
    assert verify(client, **{**row, "responses_create_params": {"input": "x"}}).json()["reward"] == 1.0
    assert verify(session(app), *row["reference_turns"]).json()["reward"] == 0.0
