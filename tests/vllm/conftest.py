"""Two real vLLM servers for the whole session, and a folder to work in."""

import signal

import pytest

from tests.collect.workspace import Workspace
from tests.vllm.engines import NAME, VENV, Engine

_STARTED = []  # for the reports, which have no fixtures


@pytest.fixture(scope="session")
def started():
    """The servers, ready once; if they cannot start, no test tries again."""
    assert (VENV / "bin/vllm").exists(), f"vLLM is not installed in {VENV}: run `make test-vllm`"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a terminated run stops its servers too
    try:
        for name in ("first", "second"):
            _STARTED.append(Engine(name, VENV / "logs"))
            _STARTED[-1].start()
        for engine in _STARTED:
            engine.wait_until_ready()
        yield _STARTED
    finally:
        for engine in _STARTED:
            engine.stop()


@pytest.fixture
def engines(started):
    """The servers, both alive, with nothing counted yet."""
    dead = [engine for engine in started if not engine.is_healthy()]
    for engine in dead:
        engine.stop()
        engine.start()
    for engine in dead:
        engine.wait_until_ready()
    for engine in started:
        engine.forget()
    return started


@pytest.fixture
def workspace(tmp_path, engines):
    workspace = Workspace(tmp_path)
    workspace.points_to(*(engine.base_url for engine in engines), model=NAME)
    return workspace


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show the end of the servers' logs with a failure."""
    report = yield
    if report.failed:
        report.sections += [(f"end of {engine.log}", engine.tail()) for engine in _STARTED]
    return report
