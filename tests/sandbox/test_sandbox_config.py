"""Which provider a configuration means, and what a wrong one is told."""

import pytest
from omegaconf import OmegaConf

from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.sandbox import (
    SandboxResources,
    SandboxSpec,
    create_provider,
    get_provider_class,
    list_providers,
    register_provider,
    resolve_provider_config,
    resolve_provider_metadata,
)

TREE = {"sandbox": {"docker": {"network": "none"}, "default_metadata": {"team": "maths"}}, "other": {"a": 1, "b": 2}}


@pytest.mark.parametrize("tree", [TREE, OmegaConf.create(TREE)], ids=["plain", "omegaconf"])
def test_a_provider_is_named_or_written_in_place(tree):
    assert resolve_provider_config("sandbox", tree) == {"docker": {"network": "none"}}
    assert resolve_provider_metadata("sandbox", tree) == {"team": "maths"}
    assert resolve_provider_config({"subprocess": {}}) == {"subprocess": {}}
    assert resolve_provider_metadata({"subprocess": {}}) == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: resolve_provider_config("sandbx", TREE),
            "no top-level block 'sandbx'\n\nhint: did you mean `sandbox",
        ),
        (lambda: resolve_provider_config("other", TREE), r"names 2 providers \(a, b\)"),
        (lambda: resolve_provider_config(3, TREE), "neither the name of a block nor a block"),
        (lambda: create_provider({"dcoker": {}}), "no sandbox provider 'dcoker'\n\nhint: did you mean `docker`"),
        (lambda: create_provider({"subprocess": {"netwrk": True}}), "netwrk"),
        (lambda: create_provider({}), "is not one name"),
        (lambda: SandboxSpec(resources={"memory": 3}), "unknown keys memory"),
        (lambda: SandboxSpec(ports=[80, 80]), "not different TCP ports"),
    ],
)
def test_a_mistake_is_told_with_its_value_and_a_hint(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert isinstance(error.value, ConfigError)


def test_resources_may_be_a_mapping_whose_numbers_are_texts():
    spec = SandboxSpec(resources={"cpu": "2", "memory_mib": "512", "gpu": None})

    assert spec.resources == SandboxResources(cpu=2.0, memory_mib=512)


def test_a_provider_of_ones_own_can_be_added_once():
    class Mine:
        name = "mine"

    register_provider("mine", Mine)

    assert {"mine", "subprocess", "docker", "podman", "apptainer"} <= set(list_providers())
    assert get_provider_class("mine") is Mine
    assert isinstance(create_provider({"mine": None}), Mine)
    with pytest.raises(ConfigError, match="the name is taken"):
        register_provider("mine", Mine)
