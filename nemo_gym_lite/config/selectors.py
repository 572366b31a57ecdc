"""Finds the files that `--resources-server NAME` and the like stand for."""

import logging
from pathlib import Path

from nemo_gym_lite.config.components import components
from nemo_gym_lite.config.roots import locations, search_roots
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError

log = logging.getLogger(__name__)

SELECTORS: dict[str, tuple[str, ...]] = {
    "--benchmark": ("benchmarks",),
    "--environment": ("environments", "resources_servers"),
    "--resources-server": ("resources_servers",),
    "--agent-type": ("responses_api_agents",),
    "--model-type": ("responses_api_models",),
}
"""For each selector the folders that its names are looked for in."""

_WITH_ONE_CONFIG = ("benchmarks", "environments")


def selected_config(selector: str, value: str) -> str:
    """The path of the file that a selector's `NAME`, or `NAME/FLAVOR` for another file than the usual, stands for.

    Raises:
        ConfigError: There is none; the message tells the folders searched, the hint names that are alike.
    """
    for parent in SELECTORS[selector]:
        for path in _paths(parent, value):
            there = list(dict.fromkeys(place.resolve() for place in locations(path) if place.is_file()))
            if there[1:]:
                log.warning("%s %s is %s; it hides %s", selector, value, there[0], ", ".join(map(str, there[1:])))
            if there:
                return str(there[0])
    folders = [root / parent for root in search_roots() for parent in SELECTORS[selector]]
    searched = "\n".join(f"  {folder}" for folder in folders if folder.is_dir())
    raise ConfigError(
        f"{selector} {value}: there is no such configuration; searched\n{searched}",
        did_you_mean(value, _names(selector), "`ng_list` shows what there is"),
    )


def _paths(parent: str, value: str) -> list[str]:
    name, _, flavor = value.partition("/")
    if parent in _WITH_ONE_CONFIG:
        return [f"{parent}/{value}/config.yaml", f"{parent}/{name}/{flavor or 'config'}.yaml"]
    return [f"{parent}/{name}/configs/{flavor or name}.yaml"]


def _names(selector: str) -> list[str]:
    names = []
    for parent in SELECTORS[selector]:
        mark = "**/config.yaml" if parent in _WITH_ONE_CONFIG else "*/configs/*.yaml"
        for component in components(parent, mark):
            names.append(component.name)
            others: list[Path] = [] if parent in _WITH_ONE_CONFIG else sorted((component.folder / "configs").iterdir())
            names += [f"{component.name}/{path.stem}" for path in others if path.stem != component.name]
    return names
