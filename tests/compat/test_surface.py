"""Nothing that environments import, call or validate may vanish or change without a change to surface.yaml."""

from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tests.compat.pins import faults

SURFACE = yaml.safe_load((Path(__file__).parent / "surface.yaml").read_text())

EVERY_NAME = [(module, name) for module, names in SURFACE.items() for name in names]


@pytest.mark.parametrize(("module", "name"), EVERY_NAME, ids=".".join)
def test_what_environments_rely_on_is_there(module, name):
    found = import_module(module)

    assert hasattr(found, name), f"{module} has no {name}"
    assert list(faults(getattr(found, name), SURFACE[module][name])) == []


def test_every_module_is_the_very_object_of_our_package():
    for module in SURFACE:
        if module.startswith("nemo_gym"):
            ours = import_module(module.replace("nemo_gym", "nemo_gym_lite", 1))

            assert import_module(module) is ours
            assert ours.__spec__.name == ours.__name__
