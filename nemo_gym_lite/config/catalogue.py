"""What the search roots offer, told from YAML and README alone: environments, agents, models, benchmarks."""

import ast
import difflib
import logging
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.components import Component, components
from nemo_gym_lite.config.files import ConfigFiles
from nemo_gym_lite.errors import ConfigError

log = logging.getLogger(__name__)

Kind = Literal["environments", "resources-servers", "agents", "models", "benchmarks"]

_PLACES: dict[Kind, tuple[tuple[str, str], ...]] = {
    "environments": (("resources_servers", "*/configs/*.yaml"), ("environments", "*/config.yaml")),
    "resources-servers": (("resources_servers", "*/app.py"),),
    "agents": (("responses_api_agents", "*/app.py"),),
    "models": (("responses_api_models", "*/app.py"),),
    "benchmarks": (("benchmarks", "**/config.yaml"),),
}

_ALIKE = 0.75
"""From this similarity of two words on, a search counts one for the other."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be named in a configuration.

    Attributes:
        configs: Its YAML files.
        agents: Instance names of the agents that these configure.
        datasets: Their data files.
    """

    kind: str
    name: str
    path: Path
    domain: str = ""
    description: str = ""
    configs: list[Path] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """The entry as plain data."""
        return {**asdict(self), "path": str(self.path), "configs": [*map(str, self.configs)]}

    def matches(self, query: str) -> bool:
        """Whether every word of a query is in it, or like one of its words."""
        text = f"{self.name} {self.domain} {self.description}".casefold()
        words = re.findall(r"\w+", text.replace("_", " "))
        return all(
            word in text or difflib.get_close_matches(word, words, n=1, cutoff=_ALIKE)
            for word in query.casefold().split()
        )


def entries(kind: Kind) -> list[Entry]:
    """Everything of a kind that the search roots hold, by name."""
    found = [_entry(kind, component) for place in _PLACES[kind] for component in components(*place)]
    return sorted(found, key=lambda entry: entry.name)


def _entry(kind: Kind, component: Component) -> Entry:
    folder = component.folder
    own = folder / "config.yaml"
    configs = [own] if own.is_file() else sorted((folder / "configs").glob("*.yaml"))
    domain = description = ""
    agents: list[str] = []
    datasets: list[str] = []
    for name, server_type, block in _servers(configs):
        if server_type == "resources_servers":
            domain = domain or str(block.get("domain") or "")
            description = description or str(block.get("description") or "")
        elif server_type == "responses_api_agents":
            agents.append(name)
            datasets += [str(each["jsonl_fpath"]) for each in block.get("datasets") or () if "jsonl_fpath" in each]
    text = description or _first_words(folder)
    names = [*dict.fromkeys(agents)], [*dict.fromkeys(datasets)]
    return Entry(kind, component.name, folder, domain, text, configs, *names)


def _servers(configs: list[Path]) -> Iterator[tuple[str, str, Json]]:
    """Yield name, type and settings of the servers of some files; one that cannot be read is told and passed over."""
    for path in configs:
        files = ConfigFiles()
        try:
            files.add([str(path)], str(path))
        except ConfigError as error:
            log.warning("%s is left out: %s", path, error.message)
            continue
        for name, block in files.tree.items():
            for server_type, implementations in block.items() if isinstance(block, dict) else ():
                for settings in implementations.values() if isinstance(implementations, dict) else ():
                    if isinstance(settings, dict):
                        yield name, server_type, settings


def _first_words(folder: Path) -> str:
    """The first sentence of the README, else of the server's docstring."""
    readme, app = folder / "README.md", folder / "app.py"
    text: Any = ""
    if readme.is_file():
        paragraphs = re.split(r"\n\s*\n", readme.read_text(encoding="utf-8", errors="replace"))
        text = next((each for each in paragraphs if re.match(r"\s*([\w`*]|\[(?!!))", each)), "")
    elif app.is_file():
        try:
            text = ast.get_docstring(ast.parse(app.read_text(encoding="utf-8", errors="replace")))
        except SyntaxError:
            text = ""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(str(text or "").split())).replace("`", "")
    return re.split(r"(?<=[.!?])\s", plain)[0]
