"""Lets the settings of a machine, written for engines that are servers, hold for an engine in the collector too."""

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.merging import merge

_KIND, _SERVED, _OFFLINE = "responses_api_models", "local_vllm_model", "offline_vllm_model"


def lend_presets(tree: Json) -> Json:
    """Return the tree in which a model that is `offline_vllm_model` has taken over what is set for `local_vllm_model`.

    A block of the latter without an `entrypoint` is no server but a preset, such as those in `configs/hardware`. What
    the model sets itself wins.
    """
    changed = dict(tree)
    for name, block in tree.items():
        kinds = block.get(_KIND) if isinstance(block, dict) else None
        if not isinstance(kinds, dict) or _OFFLINE not in kinds:
            continue
        preset = kinds.get(_SERVED)
        if isinstance(preset, dict) and "entrypoint" not in preset:
            lent = {key: value for key, value in preset.items() if key != "num_replicas"}
            changed[name] = {**block, _KIND: {_OFFLINE: merge(lent, kinds[_OFFLINE])}}
    return changed
