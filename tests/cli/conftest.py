"""A user's folder, and commands that are run in it as the user would, in this process or in one of their own."""

import importlib
import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

PARAMS = {"input": [{"role": "user", "content": "Say it."}]}


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def row(**fields):
    return {"responses_create_params": PARAMS, **fields}


def read_lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, empty; the environment variables are restored afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEMO_GYM_EXTRA_ROOTS", "")
    return tmp_path


@pytest.fixture
def write(folder):
    """Writes a file of the working directory; rows become JSON lines."""

    def write_file(name, content):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            lines = (each if isinstance(each, str) else json.dumps(each) for each in content)
            content = "".join(f"{line}\n" for line in lines)
        path.write_text(textwrap.dedent(content))
        return path

    return write_file


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """Runs a command in this process."""

    def run(name, *argv):
        monkeypatch.setattr(sys, "argv", [f"ng_{name}", *argv])
        code = importlib.import_module(f"nemo_gym_lite.cli.{name}").main()
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture
def process(folder):
    """Runs a command in a process of its own."""

    def start(*argv):
        done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=120, check=False)
        return Ended(done.returncode, done.stdout, done.stderr)

    def run(name, *argv):
        return start("-m", f"nemo_gym_lite.cli.{name}", *argv)

    def run_alone(name, *argv):
        """The same, but what the package brings along is not there to be found."""
        hide = "from nemo_gym_lite.config import roots as r; r.INSTALL_ROOT = r.Path('/nowhere')"
        return start("-c", f"{hide}; import sys; from nemo_gym_lite.cli import {name} as c; sys.exit(c.main())", *argv)

    run.alone = run_alone
    return run
