"""Checks of the merged tree: keys of the command line that nobody knows, and values still missing."""

from collections.abc import Iterable

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.interpolation import interpolated_keys
from nemo_gym_lite.config.keys import FREE_PREFIXES, KNOWN_GLOBALS, RESERVED_KEYS, SERVER_TYPES
from nemo_gym_lite.config.merging import MISSING, leaves
from nemo_gym_lite.config.overrides import Override
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError, ConfigMissingValuesError


def check_known(overrides: Iterable[Override], options: Iterable[str], tree: Json) -> None:
    """Check that every key of the command line means something: to the command's own options, or to the tree.

    Raises:
        ConfigError: A key is no option, no reserved key, no key of the files, and none that they interpolate.
    """
    known = {*options, *RESERVED_KEYS, *KNOWN_GLOBALS, *tree, *interpolated_keys(tree)}
    for override in overrides:
        key = override.path[0]
        is_server = isinstance(override.value, dict) and any(kind in override.value for kind in SERVER_TYPES)
        if key in known or key.startswith(FREE_PREFIXES) or is_server or set(override.path) & set(SERVER_TYPES):
            continue
        hint = did_you_mean(key, known, "`--help` lists the command's options")
        raise ConfigError(f"`{override.shown}` on the command line: nothing reads a key named `{key}`", hint)


def check_missing(tree: Json) -> None:
    """Check that no value is left `???`, also in blocks that nothing uses.

    Raises:
        ConfigMissingValuesError: Some are; the message lists all of them.
    """
    missing = [path for path, value in leaves(tree) if value == MISSING]
    if not missing:
        return
    listed = "\n".join(f"  {path}" for path in missing)
    first = " ".join(f"++{path}=<value>" for path in missing[:3])
    plural = "value is" if len(missing) == 1 else "values are"
    raise ConfigMissingValuesError(
        f"{len(missing)} {plural} still {MISSING}\n{listed}", f"give them in a file, or on the command line: {first}"
    )
