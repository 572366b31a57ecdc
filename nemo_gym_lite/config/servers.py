"""Server instances: what runs under which name, where its code is, and which class it is."""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from nemo_gym_lite import alias
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.blocks import Block, references, server_blocks
from nemo_gym_lite.config.roots import EXTRA_ROOTS_VARIABLE, INSTALL_ROOT, search_roots
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.config_types import ServerType
from nemo_gym_lite.errors import ConfigError

_FOLDERS_OF_AGENTS = ("nemo_gym_lite", "responses_api_agents")

_ROLE_MODULES = re.compile(r"^nemo_gym_lite\.(base_|server_utils|serving\.)")


class ServerInstance(BaseModel, frozen=True):
    """One server of the composed configuration.

    Attributes:
        name: The instance's name, under which others refer to it.
        implementation: The folder below `server_type` that holds its code.
        entrypoint: Absolute path of the file that defines its class.
        module: Import path of that file.
        placement: `near` or `far` where the configuration says so.
        config: The implementation's own settings, resolved, with `name`, `host` and `port`.
    """

    name: str
    server_type: ServerType
    implementation: str
    entrypoint: Path
    module: str
    host: str
    port: int
    config: dict[str, Any]
    placement: Literal["near", "far"] | None = None

    @property
    def isolated(self) -> bool:
        """Whether it runs in a virtual environment of its own."""
        return bool(self.config.get("isolate"))

    @property
    def runs_on_nemo_gym(self) -> bool:
        """Whether `nemo_gym` in its code means NeMo Gym itself."""
        return bool(self.config.get("use_installed_nemo_gym"))

    @property
    def shares_process(self) -> bool:
        """Whether it may be served in one process with others: the agents that are ours."""
        ours = any(self.entrypoint.is_relative_to(INSTALL_ROOT / folder) for folder in _FOLDERS_OF_AGENTS)
        apart = self.isolated or self.runs_on_nemo_gym or self.placement == "far"
        return ours and self.server_type == "responses_api_agents" and not apart

    @property
    def url(self) -> str:
        """Base URL of the served instance."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def reference(self, field: str) -> str | None:
        """Return the name of the instance that a `{type, name}` field refers to, else None."""
        return next((target for name, _, target in references(self.config) if name == field), None)

    def references(self) -> tuple[str, ...]:
        """Return the names of all instances that this one refers to."""
        return tuple(target for _, _, target in references(self.config))


def server_instances(tree: DictConfig | Mapping[str, Any], *, need_code: bool = True) -> tuple[ServerInstance, ...]:
    """Return the servers of a tree in which every server has its host and port; as plain data it must be resolved.

    Without `need_code`, an instance whose code is not on this machine keeps a relative `entrypoint`.

    Raises:
        ConfigError: The code of a server is in no search root.
    """
    plain: Any = OmegaConf.to_container(tree, resolve=True) if isinstance(tree, DictConfig) else tree
    return instances_of(server_blocks(plain), need_code=need_code)


def instances_of(blocks: Iterable[Block], *, need_code: bool = True) -> tuple[ServerInstance, ...]:
    """Return the instances of blocks that have host and port; see `server_instances`."""
    return tuple(_instance(block, need_code=need_code) for block in blocks)


def _instance(block: Block, *, need_code: bool) -> ServerInstance:
    entrypoint, module = _locate(block, need_code=need_code)
    config: Json = {**block.config, "name": block.name}
    alone = config.get("isolate") or config.get("use_installed_nemo_gym")
    return ServerInstance.model_validate(
        {
            "name": block.name,
            "server_type": block.server_type,
            "implementation": block.implementation,
            "entrypoint": entrypoint,
            "module": module,
            "host": config["host"],
            "port": config["port"],
            "config": config,
            # what is installed for it alone, or is built on another `nemo_gym`, can be imported in no other process
            "placement": "far" if alone else config.get("placement"),
        }
    )


def _locate(block: Block, *, need_code: bool) -> tuple[Path, str]:
    relative = Path(block.server_type, block.implementation, block.config["entrypoint"])
    roots = _roots_of(block.server_type)
    for root in roots:
        if (root / relative).is_file():
            return (root / relative).absolute(), ".".join(relative.with_suffix("").parts)
    if not need_code:
        return relative, ".".join(relative.with_suffix("").parts)
    raise _no_code(block, relative, roots)


def _roots_of(server_type: str) -> tuple[Path, ...]:
    """Where code of a server is looked for; NeMo Gym's own models and agents stand behind ours, which do the same."""
    roots = search_roots()
    if server_type == "resources_servers":
        return roots
    return tuple(sorted(roots, key=lambda root: root != INSTALL_ROOT and (root / "nemo_gym" / "__init__.py").is_file()))


def _no_code(block: Block, relative: Path, roots: Sequence[Path]) -> ConfigError:
    searched = "\n".join(f"  {root / relative}" for root in roots)
    folders = {path.name for root in roots for path in (root / block.server_type).glob("*") if path.is_dir()}
    if block.implementation in folders:
        hint = f"check `entrypoint` of `{block.name}`; usually it is app.py"
    else:
        otherwise = f"add its folder to a search root, or name it in {EXTRA_ROOTS_VARIABLE}"
        hint = did_you_mean(block.implementation, folders, otherwise)
    return ConfigError(f"server `{block.name}`: no code for {relative}; searched\n{searched}", hint)


def load_server_class(instance: ServerInstance) -> type[Any]:
    """Import the instance's module and return the server class that it defines.

    Errors of the module itself (a missing dependency, a syntax error) come out as they are.

    Raises:
        ConfigError: The module defines no server class, or several of which none is the obvious one.
    """
    if not instance.runs_on_nemo_gym:
        alias.install()
    module = _import(instance)
    servers: list[type[Any]] = [value for value in vars(module).values() if _is_server_class(value)]
    own = [cls for cls in servers if cls.__module__ == module.__name__] or servers
    leaves = [cls for cls in dict.fromkeys(own) if not any(cls in other.__mro__[1:] for other in own)]
    if len(leaves) > 1:  # the class that the file itself would run
        started = re.findall(
            r"^\s+(?:\w+\s*=\s*)?(\w+)\.run_webserver\(", instance.entrypoint.read_text(), re.MULTILINE
        )
        leaves = [cls for cls in own if cls.__name__ in started] or leaves
    if len(leaves) != 1:
        found = ", ".join(cls.__name__ for cls in leaves) or "none"
        raise ConfigError(
            f"server `{instance.name}`: {instance.entrypoint} must define one server class, found {found}",
            "derive one class from SimpleResourcesServer, SimpleResponsesAPIModel or SimpleResponsesAPIAgent "
            'and end the file with `if __name__ == "__main__": ThatClass.run_webserver()`',
        )
    return leaves[0]


def _is_server_class(value: Any) -> bool:
    """Whether `value` is a concrete server; by name, since this module stands below the server classes."""
    return (
        isinstance(value, type)
        and not inspect.isabstract(value)
        and not _ROLE_MODULES.match(value.__module__)
        and any(base.__name__ == "SimpleServer" for base in value.__mro__)
    )


def _import(instance: ServerInstance) -> ModuleType:
    """Import by name where that leads to the right file, else by path."""
    if instance.module.startswith("nemo_gym_lite."):
        return importlib.import_module(instance.module)
    # Ours comes first, as in the processes of servers, so that what others build on is ours however many roots have it;
    # the server's own folder comes last, so that files beside it can be imported and none hides a package.
    for folder in [str(INSTALL_ROOT), *map(str, search_roots()), str(instance.entrypoint.parent)]:
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        spec = importlib.util.find_spec(instance.module)
    except ModuleNotFoundError:
        spec = None
    if spec is not None and spec.origin and Path(spec.origin).resolve() == instance.entrypoint.resolve():
        return importlib.import_module(instance.module)
    return _import_by_path(instance)


def _import_by_path(instance: ServerInstance) -> ModuleType:
    if instance.module in sys.modules and _file_of(sys.modules[instance.module]) == instance.entrypoint.resolve():
        return sys.modules[instance.module]
    spec = importlib.util.spec_from_file_location(instance.module, instance.entrypoint)
    if spec is None or spec.loader is None:
        raise ConfigError(f"server `{instance.name}`: {instance.entrypoint} is no Python file", "name a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[instance.module] = module  # as an ordinary import does, so that its classes pickle
    spec.loader.exec_module(module)
    return module


def _file_of(module: ModuleType) -> Path | None:
    return Path(module.__file__).resolve() if module.__file__ else None
