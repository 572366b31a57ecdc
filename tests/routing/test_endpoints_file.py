"""Endpoints join and leave by way of a file."""

import os
import signal

import pytest

from nemo_gym_lite.routing.endpoints_file import EndpointsFile, read_endpoints

A, B = "http://a:1/v1", "http://b:2/v1"


@pytest.mark.parametrize(
    "text",
    [
        f"{A}\n{B}\n",
        f"# ours\n- {A}  # the first\n- {B}/\n",
        f"- \"{A}\"\n\n- '{B}'",
        f"{A},{B}",
    ],
)
def test_a_file_is_a_list_of_lines_or_of_yaml(tmp_path, text):
    path = tmp_path / "endpoints.yaml"
    path.write_text(text)

    assert read_endpoints(path) == [A, B]


def test_a_file_is_read_when_it_changes_and_not_otherwise(tmp_path):
    path = tmp_path / "endpoints"
    watched = EndpointsFile(path)
    assert watched.look(0.0) is None  # not there yet
    path.write_text(A)

    assert watched.look(1.0) == [A]
    assert watched.look(2.0) is None
    path.write_text(f"{A}\n{B}")
    assert watched.look(3.0) == [A, B]
    assert watched.next_look_s == 4.0


def test_a_file_that_cannot_be_understood_changes_nothing_and_is_complained_about_once(tmp_path, caplog):
    path = tmp_path / "endpoints"
    watched = EndpointsFile(path)
    for text in ("", "not a url"):
        path.write_text(text)
        assert watched.look(1.0) is None
        assert watched.look(2.0) is None

    assert len(caplog.records) == 2
    assert "not a url" in caplog.text


def test_a_hangup_has_every_file_read_again(tmp_path):
    path = tmp_path / "endpoints"
    path.write_text(A)
    before = signal.getsignal(signal.SIGHUP)
    try:
        watched = [EndpointsFile(path), EndpointsFile(path)]
        for each in watched:
            each.look(5.0)
            each.listen()
        os.kill(os.getpid(), signal.SIGHUP)

        assert [each.next_look_s for each in watched] == [0.0, 0.0]
        assert [each.look(5.1) for each in watched] == [[A], [A]]
    finally:
        signal.signal(signal.SIGHUP, before)
