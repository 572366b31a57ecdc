"""Two real vLLM servers for the whole session, and a folder to work in."""

import signal

import pytest

from tests.collect.workspace import Workspace
from tests.vllm.engines import NAME, VENV, Engine

_ENGINES = [Engine(name, VENV / "logs") for name in ("first", "second")] if VENV.exists() else []


@pytest.fixture(scope="session")
def stopped_at_the_end():
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a terminated run stops its servers too
    yield
    for engine in _ENGINES:
        engine.stop()


@pytest.fixture
def engines(stopped_at_the_end):
    """The servers, both alive, with nothing counted yet."""
    assert _ENGINES, f"vLLM is not installed in {VENV}: run `make test-vllm`"
    started = [engine for engine in _ENGINES if not engine.alive]
    for engine in started:
        engine.start()
    for engine in started:
        engine.wait_until_ready()
    for engine in _ENGINES:
        engine.forget()
    return _ENGINES


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
        shown = [engine for engine in _ENGINES if engine.log.exists()]
        report.sections += [(f"end of {engine.log}", engine.tail()) for engine in shown]
    return report
