"""How environments' tests are run: as NeMo Gym runs them, in a process of their own, with its exit code."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.packages import write_package

SERVER = """
    from nemo_gym.base_resources_server import SimpleResourcesServer


    class AnyServer(SimpleResourcesServer):
        async def verify(self, body):
            raise NotImplementedError
"""


@pytest.fixture
def environment(write):
    """Writes an environment with one file of tests."""

    def write_environment(name, tests, **files):
        write(f"resources_servers/{name}/app.py", SERVER)
        write(f"resources_servers/{name}/tests/test_app.py", tests)
        for file, content in files.items():
            write(f"resources_servers/{name}/{file.replace('__', '.')}", content)

    return write_environment


def test_nemo_gym_means_this_package_and_the_environment_is_found_by_its_name(environment, process):
    environment("tea", """
        import nemo_gym_lite.server_utils
        import nemo_gym.server_utils
        from resources_servers.tea.app import AnyServer
        from resources_servers.mcqa.app import MCQAResourcesServer  # of another search root

        def test_it():
            assert nemo_gym.server_utils is nemo_gym_lite.server_utils
            assert AnyServer.__mro__[1].__module__ == "nemo_gym_lite.base_resources_server"
    """)  # fmt: skip

    ended = process("test", "+entrypoint=resources_servers/tea")

    assert ended.code == 0, ended.out + ended.err
    assert "1 passed" in ended.out


def test_the_folder_is_the_working_directory_and_its_files_can_be_imported(environment, process):
    environment(
        "tea",
        """
        from pathlib import Path

        import own_module

        async def test_it_without_a_mark():
            assert Path.cwd().name == "tea"
            assert own_module.VALUE == 3

        def test_a_warning_is_no_failure():
            import warnings
            warnings.warn("old", DeprecationWarning)
        """,
        own_module__py="VALUE = 3",
    )

    ended = process("test", "+entrypoint=resources_servers/tea")

    assert ended.code == 0, ended.out + ended.err
    assert "2 passed" in ended.out


def test_settings_of_the_folder_hold_and_the_exit_code_is_that_of_pytest(environment, process):
    environment(
        "tea",
        """
        import warnings

        def test_it():
            warnings.warn("old", UserWarning)
        """,
        pytest__ini="[pytest]\nfilterwarnings = error\n",
    )

    assert process("test", "+entrypoint=resources_servers/tea").code == 1


def test_a_package_that_is_missing_is_named_before_the_tests_are_run(environment, process):
    environment("tea", "raise AssertionError", requirements__txt="-e nemo-gym[dev] @ ../../\nno-such-package>=2\n")

    ended = process("test", "+entrypoint=resources_servers/tea")

    assert ended.code == 2
    assert "no-such-package>=2" in ended.err
    assert "pip install 'no-such-package>=2'" in ended.err


@pytest.mark.skipif(not Path(sys.executable).with_name("uv").exists(), reason="uv is not installed")
def test_an_environment_of_its_own_has_what_the_folder_asks_for_and_what_is_here(environment, write, folder, process):
    environment(
        "tea",
        """
        import nemo_gym.server_utils
        import only_here

        def test_it():
            assert only_here.VALUE == 3
        """,
        requirements__txt="nemo-gym\nonly-here @ file:package\n",
    )
    write("resources_servers/tea/configs/tea.yaml", "tea: {resources_servers: {tea: {isolate: true}}}")
    write_package(folder / "resources_servers/tea/package", "only-here", "1", "VALUE = 3")

    ended = process("test", "+entrypoint=resources_servers/tea", "+uv_venv_dir=kept")

    assert ended.code == 0, ended.out + ended.err
    assert "1 passed" in ended.out
    assert process("test", "+entrypoint=resources_servers/tea", "+isolate=false").code == 2


@pytest.mark.parametrize("entrypoint", ["resources_servers/gsm8", "resources_servers/gsm8k/app.py"])
def test_a_folder_that_is_not_there_is_answered_with_the_nearest(command, entrypoint):
    ended = command("test", f"+entrypoint={entrypoint}")

    assert ended.code == 2
    assert "did you mean `resources_servers/gsm8k`" in ended.err


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"responses_create_params": {"input": "?"}}] * 4, "has 4 rows; 5 are wanted"),
        (["{"], "line 1: not JSON"),
        (None, "no such file"),
    ],
)
def test_data_can_be_asked_to_be_there_and_valid(environment, write, command, rows, complaint):
    environment("tea", "")
    if rows:
        write("resources_servers/tea/data/example.jsonl", rows)

    ended = command("test", "+entrypoint=resources_servers/tea", "+should_validate_data=true")

    assert ended.code == 2
    assert complaint in ended.err


@pytest.mark.parametrize("name", ["test", "test_all"])
def test_who_ends_the_command_ends_the_tests(environment, folder, name):
    environment("tea", f"""
        import os, pathlib, time

        def test_it():
            pathlib.Path({str(folder)!r}, "pid").write_text(str(os.getpid()))
            time.sleep(60)
    """)  # fmt: skip
    hide = "from nemo_gym_lite.config import roots as r; r.INSTALL_ROOT = r.Path('/nowhere')"
    code = f"{hide}; import sys; from nemo_gym_lite.cli import {name} as c; sys.exit(c.main())"
    options = ["+entrypoint=resources_servers/tea"] if name == "test" else []
    with subprocess.Popen([sys.executable, "-c", code, *options], stdout=subprocess.DEVNULL) as command:
        pid = wait_for(lambda: (folder / "pid").read_text() if (folder / "pid").exists() else "")
        command.terminate()
        assert command.wait(10) != 0

    assert wait_for(lambda: not Path("/proc", pid).exists())


def wait_for(condition, seconds=20.0):
    """What `condition` returns once that is true, or in the end."""
    until = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def test_the_folder_of_all_environments_is_none_of_them(environment, command):
    environment("tea", "")

    ended = command("test", "+entrypoint=resources_servers")

    assert ended.code == 2
    assert "ng_test_all" in ended.err


def test_all_folders_are_tested_apart_and_one_failure_is_enough(environment, write, process):
    environment("tea", "def test_it(): pass")
    environment("cake", "def test_it(): raise AssertionError('burnt')")
    environment("biscuit", "def test_it(): import time; time.sleep(60)")
    environment("scone", "", requirements__txt="no-such-package\n")
    environment("toast", "")
    write("resources_servers/toast/configs/toast.yaml", "toast: [")

    ended = process.alone("test_all", "+jobs=2", "+timeout_s=8")  # ours are tested elsewhere

    assert ended.code == 1, ended.err
    table = {line.split("│")[1].strip(): line for line in ended.out.splitlines() if line.startswith("│")}
    assert "passed" in table["resources_servers/tea"]
    assert "failed (1)" in table["resources_servers/cake"]
    assert "timeout" in table["resources_servers/biscuit"]
    assert "cannot run" in table["resources_servers/scone"]
    assert "cannot run" in table["resources_servers/toast"]
    assert "burnt" in ended.out
    assert "5 folders tested, 4 failed" in ended.out
