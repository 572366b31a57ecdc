"""How a command's own options are found, checked and explained."""

from typing import Any, Literal

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.options import help_text
from nemo_gym_lite.errors import ConfigError


class Limits(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_s: float = Field(default=10.0, description="seconds to connect")


class Options(BaseModel):
    """Collects things."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_path: str = Field(description="where things are")
    limit: int | None = Field(default=None, description="how many; null takes all")
    parallel: int | Literal["auto"] = Field(default="auto", validation_alias=AliasChoices("parallel", "concurrency"))
    params: dict[str, Any] = Field(default_factory=dict)
    deadlines: Limits = Limits()
    config_paths: list[str] = Field(default_factory=list)


def options(*argv, **keywords):
    return compose(["+input_path=x", *argv], Options, needs_servers=False, **keywords).options


def test_options_come_from_the_command_line_with_their_types(write):
    found = options("+limit=3", "+params.temperature=0.3", "+params.model=gpt-4o-mini", "+deadlines.connect_s=2")

    assert found.limit == 3
    assert found.params == {"temperature": 0.3, "model": "gpt-4o-mini"}
    assert found.deadlines.connect_s == 2
    assert options("+limit=null").limit is None
    assert options("limit=3").limit == 3


def test_options_may_stand_in_env_yaml_and_in_files(write):
    write("env.yaml", "{limit: 1, OPENAI_API_KEY: sk-1}")
    write("a.yaml", "{limit: 0, params: {service_tier: scale}}")

    found = options("+config_paths=[a.yaml]")

    assert (found.limit, found.params) == (1, {"service_tier": "scale"})
    assert found.config_paths[0].endswith("a.yaml")
    assert options("+limit=2").limit == 2


@pytest.mark.parametrize(("low", "high"), [("parallel", "concurrency"), ("concurrency", "parallel")])
def test_whichever_name_the_higher_source_uses_wins(write, low, high):
    write("env.yaml", f"{low}: 5")

    assert options(f"+{high}=7").parallel == 7
    assert options().parallel == 5


def test_one_source_cannot_give_an_option_two_values(write):
    write("env.yaml", "{parallel: 5, concurrency: 7}")

    with pytest.raises(ConfigError, match=r"env\.yaml gives both `parallel` and `concurrency`"):
        options()


def test_the_last_word_on_the_command_line_wins(write):
    assert options("+concurrency=5", "+parallel=6", "+concurrency=7").parallel == 7


def test_the_help_names_every_option_with_type_default_and_meaning():
    text = help_text("ng_collect", Options)

    assert "usage: ng_collect [+key=value ...]\n\nCollects things." in text
    assert "+input_path=  (text, required)\n      where things are" in text
    assert "+limit=  (whole number, default null)\n      how many; null takes all" in text
    assert "+parallel=  (whole number or auto, default auto)\n      the same as +concurrency=" in text
    assert "+deadlines.connect_s=  (number, default 10.0)\n      seconds to connect" in text
