"""A server's packages: what is missing is said before anything starts, and what must be apart is kept apart."""

import shutil
import sys
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from nemo_gym_lite.config.requirements import own_bounds, read_requirements
from nemo_gym_lite.errors import ConfigError
from tests.packages import write_package

from .conftest import failure

pytestmark = pytest.mark.skipif(not shutil.which("uv", path=sys.exec_prefix + "/bin"), reason="uv is not installed")


def asking_server(project, name, version):
    """The code of a server that imports that package and says which version it got."""
    code = "import only_in_isolation\nimport sys\nsys.stderr.write(f'got {only_in_isolation.VERSION}\\n')\n"
    folder = project.server(name, code=code)
    source = write_package(folder / "package", "only-in-isolation", version, f"VERSION = {version!r}\n")
    (folder / "requirements.txt").write_text(f"nemo-gym[dev] @ ../../\nonly-in-isolation @ {source.as_uri()}\n")
    return folder


def configure(project, *names, environments=None):
    """Run each of these servers; in an environment of its own where a folder for environments is given."""
    lines = [f"{name}: {{resources_servers: {{{name}: {{entrypoint: app.py}}}}}}\n" for name in names]
    if environments:
        lines += ["isolate: true\n", f"uv_venv_dir: {environments}\n"]
    project.config("".join(lines))


async def test_missing_packages_are_named_by_server_before_anything_starts(project, launch):
    folder = asking_server(project, "one", "1.0")
    configure(project, "one")

    error = await failure(launch, ConfigError)

    assert "  one: only-in-isolation" in error.message
    assert str(folder / "requirements.txt") in error.message
    assert "pip install 'only-in-isolation" in error.hint
    assert "+isolate=true" in error.hint
    assert not [line for line in launch.lines if "got" in line]


async def test_two_servers_may_need_versions_that_exclude_each_other(project, launch, tmp_path):
    asking_server(project, "one", "1.0")
    asking_server(project, "two", "2.0")
    configure(project, "one", "two", environments=tmp_path / "environments")

    async with launch() as launcher:
        assert [record["status"] for record in launcher.records()] == ["running", "running"]
    text = "\n".join(launch.lines)
    assert "(one) got 1.0" in text
    assert "(two) got 2.0" in text

    launch.lines.clear()
    async with launch():  # found again, nothing is installed
        pass
    assert not [line for line in launch.lines if "installing" in line]


async def test_a_package_that_cannot_be_installed_is_told_in_the_words_of_the_installer(project, launch, tmp_path):
    folder = asking_server(project, "one", "1.0")
    (folder / "package" / "backend.py").write_text("raise RuntimeError('this package is broken')\n")
    configure(project, "one", environments=tmp_path / "environments")

    error = await failure(launch, ConfigError)

    assert "server one: what " in error.message
    assert "this package is broken" in error.message


def test_what_asks_for_the_toolkit_itself_is_passed_over(tmp_path):
    (tmp_path / "requirements.txt").write_text("-e nemo-gym[dev] @ ../../\nnemo_gym==0.5.1  # pinned\n\n# no more\n")

    assert read_requirements(tmp_path) is None


def test_what_one_server_installs_must_leave_our_own_packages_usable():
    bounds = [Requirement(line) for line in own_bounds()]

    assert {"omegaconf", "yarl"} <= {each.name for each in bounds}  # what we ask for, and what aiohttp does
    assert all(each.specifier.contains(version(each.name)) for each in bounds)
    assert not any("extra" in line for line in own_bounds())


def test_included_files_are_followed_and_a_circle_is_named(tmp_path):
    (tmp_path / "requirements.txt").write_text("-r more.txt\nyarl>=1\n")
    (tmp_path / "more.txt").write_text("absent-package-of-a-test; python_version >= '3'\nother; python_version < '3'\n")

    found = read_requirements(tmp_path)

    assert [str(each) for each in found.missing()] == ['absent-package-of-a-test; python_version >= "3"']
    (tmp_path / "more.txt").write_text("-r requirements.txt\n")
    with pytest.raises(ConfigError, match="includes itself"):
        read_requirements(tmp_path)


def test_a_line_that_no_installer_would_take_is_told(tmp_path):
    lines = "./local\n--extra-index-url https://a.b/c\nyarl>=1 --hash=sha256:00\nhttps://a.b/c.whl\n"
    (tmp_path / "requirements.txt").write_text(lines)
    assert [str(each) for each in read_requirements(tmp_path).named] == ["yarl>=1"]

    (tmp_path / "requirements.txt").write_text("yarl\n>>> nonsense\n")
    with pytest.raises(ConfigError, match=r"requirements\.txt: `>>> nonsense` is no requirement"):
        read_requirements(tmp_path)


def test_two_kinds_of_files_in_one_folder_are_refused(tmp_path):
    (tmp_path / "requirements.txt").write_text("yarl\n")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\nversion = '1'\ndependencies = ['aiohttp']\n")

    with pytest.raises(ConfigError, match=r"requirements\.txt and pyproject\.toml"):
        read_requirements(tmp_path)

    (tmp_path / "requirements.txt").unlink()
    assert read_requirements(tmp_path).lines == ("aiohttp",)


def test_another_version_than_asked_is_worth_a_note_and_no_refusal(tmp_path):
    (tmp_path / "requirements.txt").write_text("aiohttp<1\n")

    found = read_requirements(tmp_path)

    assert found.missing() == []
    assert found.other_versions()[0].startswith("aiohttp<1 (")
