"""Packages that no index has, for tests of what is installed where."""

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "{name}"
version = "{version}"
"""
BACKEND = '''
import zipfile

def build_wheel(folder, settings=None, metadata=None):
    """Write a wheel without needing any build tool."""
    name = "{module}-{version}-py3-none-any.whl"
    info = "{module}-{version}.dist-info"
    with zipfile.ZipFile(f"{{folder}}/{{name}}", "w") as wheel:
        wheel.writestr("{module}.py", {code!r})
        wheel.writestr(f"{{info}}/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        tags = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr(f"{{info}}/WHEEL", tags)
        wheel.writestr(f"{{info}}/RECORD", "")
    return name
'''


def write_package(folder, name, version, code):
    """Write the sources of the package `name`, which has one module: its name with underscores, made of `code`."""
    words = {"name": name, "module": name.replace("-", "_"), "version": version, "code": code}
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT.format(**words))
    (folder / "backend.py").write_text(BACKEND.format(**words))
    return folder
