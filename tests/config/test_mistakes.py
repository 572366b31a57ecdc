"""Every mistake that a user can make in the configuration ends in one clear message, and in nothing else."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from nemo_gym_lite.cli.common import run_command
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ConfigError
from tests.config.mistakes import FILES, MISTAKES
from tests.config.server_mistakes import SERVER_MISTAKES

EVERY_MISTAKE = MISTAKES | SERVER_MISTAKES


class Options(BaseModel):
    """Options of a command that needs servers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int | None = Field(default=None, ge=0)
    agent_name: str = "weather_agent"
    responses_create_params: dict[str, Any] = Field(default_factory=dict)
    deadlines: Deadlines = Deadlines()


@pytest.fixture(params=EVERY_MISTAKE)
def mistake(request, project, tmp_path):
    made = EVERY_MISTAKE[request.param]
    for name, text in made.files.items():
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return made


def test_a_mistake_is_named_with_its_place_and_a_hint(mistake):
    with pytest.raises(ConfigError) as caught:
        compose(mistake.argv, Options)

    assert type(caught.value) is mistake.error
    for name in mistake.names:
        assert name in caught.value.message
    assert mistake.hint in caught.value.hint
    assert caught.value.hint
    assert not caught.value.message.endswith(".")
    assert "sk-of-the-user" not in str(caught.value)


def test_a_mistake_ends_the_command_with_2_and_leaves_the_folder_alone(mistake, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    code = run_command(lambda: bool(compose(mistake.argv, Options)))

    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "\nhint: " in printed.err
    assert "Traceback" not in printed.err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("argv", [["+config_paths=[wether.yaml]"], [FILES, "+limt=5"], ["--config", "a.yaml"]])
def test_the_installed_command_behaves_so_too(project, tmp_path, argv):
    before = sorted(tmp_path.rglob("*"))

    done = subprocess.run(
        [sys.executable, "-m", "nemo_gym_lite.cli.dump_config", *argv], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
