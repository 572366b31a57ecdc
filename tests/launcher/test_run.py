"""`ng_run` and `ng_status` as users run them: real processes, real signals."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from .conftest import command_lines, unused_port, wait_until


def ng_status(*overrides):
    command = [sys.executable, "-m", "nemo_gym_lite.cli.status", *overrides]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


def test_it_prints_what_runs_where_once_all_is_ready_which_takes_little_cpu(project, ng_run):
    project.echoes("one", "two", "three")

    run = ng_run()
    text = run.until("Ctrl-C stops them")

    for name in ("one", "two", "three"):
        (line,) = [line for line in text.splitlines() if f" {name} " in line]
        assert "resources_servers/echo" in line
        assert "http://127.0.0.1:" in line
    assert f"head server on http://127.0.0.1:{run.head_port}" in text
    assert "all 3 servers ready in " in text

    # Ready in less than four seconds on quiet cores: counted in CPU, since this machine may be busy.
    spent = [process.cpu_times() for process in [psutil.Process(run.process.pid), *run.servers()]]
    assert sum(times.user + times.system for times in spent) < 4.0


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_no_process_is_left_and_no_secret_is_seen_or_left(project, ng_run, signum):
    project.echoes("one", "two", api_key="sk-very-secret")
    run = ng_run()
    run.until("Ctrl-C stops them")
    assert len(run.servers()) == 2
    assert not [line for line in command_lines() if b"sk-very-secret" in line]

    code = run.end(signum)

    assert code == (-signal.SIGKILL if signum == signal.SIGKILL else 0)
    assert run.left_over() == []
    assert "sk-very-secret" not in run.texts["out"] + run.texts["err"]
    assert not list((project.folder / "private").glob("*/*"))
    if signum != signal.SIGKILL:
        assert "all servers stopped" in run.texts["err"]
        assert not list((project.folder / "state").rglob("*.token"))


def test_ctrl_c_while_servers_start_leaves_no_process(project, ng_run):
    project.echoes("one", "two")
    project.server(code="\nimport time\ntime.sleep(60)\n")
    run = ng_run()
    wait_until(lambda: len(run.servers()) == 2)

    assert run.end() == 0
    assert run.left_over() == []


def test_a_second_ctrl_c_does_not_wait_for_a_stubborn_server(project, ng_run):
    project.echoes("one")
    project.server(code="\nimport threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()\n")
    run = ng_run()
    run.until("Ctrl-C stops them")

    run.process.send_signal(signal.SIGINT)
    run.until("stopping all servers", "err")
    run.end()

    assert run.left_over() == []


def test_a_killed_server_is_back_after_a_moment_and_ng_run_says_so(project, ng_run):
    project.echoes("one", "two")
    run = ng_run()
    run.until("Ctrl-C stops them")

    run.servers()[0].kill()
    text = run.until("is back", "err")

    assert "was killed by SIGKILL; restart 1 of 5 in 0.5 s" in text
    assert len(run.servers()) == 2


def test_a_dry_run_ends_when_all_were_ready_once(project, ng_run):
    project.echoes("one", "two")

    run = ng_run("+dry_run=true")

    assert run.wait() == 0
    assert "all 2 servers ready in " in run.texts["out"]
    assert run.left_over() == []


def failed(run):
    """Wait for a run that cannot start; returns its error text."""
    assert run.wait() == 1
    assert run.left_over() == []
    assert "Traceback" not in run.texts["err"]
    return run.texts["err"]


def test_a_head_port_in_use_ends_it_before_any_server_starts(project, ng_run, listener):
    project.echoes("one")
    project.server(code="\nfrom pathlib import Path\nPath('started').touch()\n")

    error = failed(ng_run(head_port=listener))

    assert f"error: the head server cannot listen on 127.0.0.1:{listener}" in error
    assert not list(project.folder.rglob("started"))


def test_one_server_that_does_not_import_stops_the_others(project, ng_run):
    project.echoes("good")
    project.server("bad", "\nimport package_that_nobody_has\n")
    project.config(
        """
        good: {resources_servers: {echo: {entrypoint: app.py}}}
        bad: {resources_servers: {bad: {entrypoint: app.py}}}
        """
    )

    error = failed(ng_run())

    assert "error: server 'bad' cannot start: the module 'package_that_nobody_has' is missing" in error
    assert "hint: pip install package_that_nobody_has" in error


def test_a_server_port_in_use_is_named(project, ng_run, listener):
    project.echoes("one", port=listener)

    assert f"error: server 'one' cannot listen on 127.0.0.1:{listener}: " in failed(ng_run())


def test_an_inference_server_that_does_not_answer_is_a_warning(project, ng_run):
    folder = project.folder / "responses_api_models" / "quiet"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(
        "from nemo_gym_lite.base_responses_api_model import BaseResponsesAPIModelConfig, SimpleResponsesAPIModel\n"
        "class Quiet(SimpleResponsesAPIModel):\n    config: BaseResponsesAPIModelConfig\n"
        "    async def respond(self, params, session_id): ...\n    async def chat(self, body, session_id): ...\n"
    )
    url = f"http://user:pass@127.0.0.1:{unused_port()}/v1"
    project.config(f"policy_model: {{responses_api_models: {{quiet: {{entrypoint: app.py, base_url: ['{url}']}}}}}}\n")

    text = ng_run().until("rollouts will fail", "err")

    assert f"warning: {url.replace('user:pass@', '')} does not answer (" in text
    assert "configured as policy_model.responses_api_models.quiet.base_url" in text


def test_ng_status_shows_what_runs_and_which_servers_answer(project, ng_run):
    project.echoes("one", "two")
    run = ng_run()
    run.until("Ctrl-C stops them")
    first, _ = run.servers()

    shown = ng_status(f"+head_server.port={run.head_port}")
    assert shown.returncode == 0, shown.stderr
    assert "2 servers found (2 healthy, 0 unhealthy)" in shown.stdout

    first.suspend()
    listed = ng_status(f"+head_server.port={run.head_port}", "+json=true")
    first.resume()
    records = {record["pid"]: record for record in json.loads(listed.stdout)}
    assert records[first.pid]["healthy"] is False
    assert sorted(record["healthy"] for record in records.values()) == [False, True]
    assert {record["process_name"] for record in records.values()} == {"one", "two"}
    assert {Path(record["dir_path"]).name for record in records.values()} == {"echo"}


def test_ng_status_without_ng_run_says_so_and_is_no_error(project):
    shown = ng_status(f"+head_server.port={unused_port()}")

    assert shown.returncode == 0
    assert "No NeMo Gym servers found running" in shown.stdout
    assert json.loads(ng_status(f"+head_server.port={unused_port()}", "+json=true").stdout) == []


def test_ng_status_names_a_stranger_on_the_port(project, listener):
    shown = ng_status(f"+head_server.port={listener}", "+json=true")

    assert shown.returncode == 2
    assert f"what listens on 127.0.0.1:{listener} is no head server" in shown.stderr
