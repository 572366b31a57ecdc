"""Lets code written for NeMo Gym run here: `import nemo_gym.X` gives the very module object `nemo_gym_lite.X`.

Processes that we start call `install`; `pytest -p nemo_gym_lite.alias` does so for an environment's tests. What is
patched under one name is patched under the other, since there is only one module.
"""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

THEIRS = "nemo_gym"
OURS = "nemo_gym_lite"


def install() -> None:
    """Make `nemo_gym` mean this package in this process, even if NeMo Gym is installed; once is enough.

    A process that has already imported NeMo Gym keeps it.
    """
    if not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())  # first: our package's `__path__` would let others load its files again


def nemo_gym_is_installed() -> bool:
    """Whether NeMo Gym itself can be imported here, were it not for the alias."""
    others = (finder for finder in sys.meta_path if not isinstance(finder, _Alias))
    specs = (finder.find_spec(THEIRS, None) for finder in others)
    return any(spec is not None and spec.loader is not None for spec in specs)


def pytest_load_initial_conftests() -> None:
    """Install the alias before the first test module; pytest calls this where this module is a plugin."""
    install()
    _keep_test_clients_on_httpx()


def _keep_test_clients_on_httpx() -> None:
    """Load Starlette's `TestClient` as if httpx2 were not there; environments' tests hand it cookies of httpx."""
    if "starlette.testclient" in sys.modules or importlib.util.find_spec("httpx") is None:
        return
    preferred = sys.modules.pop("httpx2", None)
    sys.modules["httpx2"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        with warnings.catch_warnings(action="ignore"):  # that httpx2 is to be preferred
            importlib.import_module("starlette.testclient")
    finally:
        del sys.modules["httpx2"]
        if preferred is not None:
            sys.modules["httpx2"] = preferred


class _Alias(MetaPathFinder, Loader):
    """Finds modules of `nemo_gym` as those of this package."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec that leads to our module of the same name, None if there is none."""
        package, _, rest = fullname.partition(".")
        if package != THEIRS:
            return None
        name = f"{OURS}.{rest}" if rest else OURS
        found = importlib.util.find_spec(name)
        if found is None:
            return None
        spec = ModuleSpec(fullname, self, origin=found.origin, is_package=found.submodule_search_locations is not None)
        spec.loader_state = name
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return our module, imported under its own name."""
        module = importlib.import_module(spec.loader_state)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module, which has run already, its own spec back: the import system has put ours there."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state
