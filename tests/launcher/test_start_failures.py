"""What a user is told about a server that does not start: which one, why, where, and what to do."""

import pytest

from .conftest import failure


async def test_a_port_in_use_is_named(project, launch, listener):
    project.echoes("one", port=listener)

    error = await failure(launch)

    assert f"server 'one' cannot listen on 127.0.0.1:{listener}: the port is in use" in error.message
    assert "++one.resources_servers.echo.port=" in error.hint


async def test_code_that_does_not_import_is_named_with_its_line(project, launch):
    project.echoes("one")
    folder = project.server(base="", code="x = 1\n1 / 0\n")

    error = await failure(launch)

    place = f"{folder / 'app.py'}:2"
    assert error.message == f"server 'one' cannot start: ZeroDivisionError: division by zero ({place})"
    assert not [text for text in launch.lines if "Traceback" in text]


async def test_a_syntax_error_is_named_with_its_line(project, launch):
    project.echoes("one")
    folder = project.server(base="", code="x = 1\ndef broken(:\n")

    error = await failure(launch)

    assert "cannot start: SyntaxError: " in error.message
    assert error.message.endswith(f"({folder / 'app.py'}:2)")


async def test_a_missing_dependency_is_named_with_the_command_that_installs_it(project, launch):
    project.echoes("one")
    folder = project.server(base="", code="import package_that_nobody_has.part\n")

    error = await failure(launch)

    assert "server 'one' cannot start: the module 'package_that_nobody_has' is missing" in error.message
    assert f"{folder / 'app.py'}:1" in error.message
    assert error.hint == "pip install package_that_nobody_has"


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("nemo_gym.no_such_module", "+use_installed_nemo_gym=true"),
        ("resources_servers.absent.app", "NEMO_GYM_EXTRA_ROOTS"),
    ],
)
async def test_a_missing_module_that_pip_does_not_have_is_not_to_be_installed(project, launch, module, advice):
    project.echoes("one")
    project.server(base="", code=f"import {module}\n")

    error = await failure(launch)

    assert " is missing (" in error.message
    assert advice in error.hint
    assert "pip" not in error.hint


async def test_a_file_without_a_server_class_is_named(project, launch):
    project.echoes("one")
    folder = project.server(base="")

    error = await failure(launch)

    assert f"{folder / 'app.py'} must define one server class" in error.message


async def test_a_config_that_does_not_fit_names_the_field(project, launch):
    project.echoes("one", api_key="[1, 2]")

    error = await failure(launch)

    assert "server 'one' cannot start: its configuration does not fit EchoConfig: api_key: " in error.message


async def test_what_an_authors_code_raises_about_no_field_is_told_without_the_configuration(project, launch):
    project.echoes("one", api_key="sk-0123456789")
    raises = "def model_post_init(self, context):\n    raise ValueError('no database at /x')\n"
    project.server(code=f"{raises}EchoServer.model_post_init = model_post_init\n")

    error = await failure(launch)

    assert "server 'one' cannot start: EchoServer cannot be made: no database at /x" in error.message
    assert "sk-" not in str(error)


async def test_an_exit_without_a_word_tells_the_last_line(project, launch):
    project.echoes("one")
    project.server(base="", code="import os\nprint('no licence here', flush=True)\nos._exit(4)\n")

    error = await failure(launch)

    assert error.message == "server 'one' exited with code 4: no licence here"


OWN_WEBSERVER = """
    import signal, sys, time

    class Own(EchoServer):
        @classmethod
        def run_webserver(cls):
            {body}
"""


async def test_a_server_that_never_answers_is_given_up_after_a_while(project, launch):
    project.echoes("one")
    project.server(code=OWN_WEBSERVER.format(body="time.sleep(60)"))

    error = await failure(launch, start_s=2.0, report_s=0.5)

    assert "server 'one' did not answer on http://127.0.0.1:" in error.message
    assert "0 / 1 servers ready, waiting for: one" in launch.lines
