"""Merges the sources of a configuration into one plain tree in which nothing is missing.

    config_paths → env.yaml → a library caller's settings → command line → directives → short forms → presets → ???

What is further right wins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.checks import check_known, check_missing
from nemo_gym_lite.config.directives import apply_directives, normalise_directives
from nemo_gym_lite.config.files import ConfigFiles, listed_paths
from nemo_gym_lite.config.merging import merge
from nemo_gym_lite.config.options import canonical
from nemo_gym_lite.config.overrides import apply_overrides, parse_overrides
from nemo_gym_lite.config.presets import lend_presets
from nemo_gym_lite.config.short_forms import expand_short_forms

_FILES = "config_paths"


def merged_tree(argv: Sequence[str], layers: Mapping[str, Json], names: Mapping[str, str]) -> tuple[Json, list[Path]]:
    """Return the tree and the files that it was read from, in the order in which they were merged.

    `layers` are what lies between files and command line, lowest first, by their names for messages; `names` those of
    the command's options and aliases, each with the name that validation takes.

    Raises:
        ConfigError: A source cannot be read, or values are missing.
    """
    overrides = parse_overrides(argv)
    selections = [override for override in overrides if override.path == (_FILES,)]
    files = ConfigFiles()
    for selection in selections:  # several of them add up, as NeMo Gym's selectors do
        files.add(listed_paths(selection.value, "the command line"), "the command line")
    if not selections:
        for origin, layer in layers.items():
            files.add(listed_paths(layer.get(_FILES), origin), origin)
    tree = canonical(files.tree, names, _FILES)
    for origin, layer in layers.items():
        rest = {key: value for key, value in layer.items() if key != _FILES}
        tree = merge(tree, canonical(rest, names, origin))
    others = [override for override in overrides if override not in selections]
    check_known(others, names, tree)
    renamed = [replace(one, path=(names.get(one.path[0], one.path[0]), *one.path[1:])) for one in others]
    apply_overrides(tree, renamed, may_set=lambda key: key in names.values())
    tree = lend_presets(expand_short_forms(apply_directives(normalise_directives(tree))))
    check_missing(tree)
    return tree, files.paths
