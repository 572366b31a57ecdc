"""Keeps all arms and repeats of a task at one endpoint, whose prefix cache then has what they share."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from nemo_gym_lite.config.servers import load_server_class, server_instances
from nemo_gym_lite.rollouts.connect import seats
from nemo_gym_lite.rollouts.discovery import Neighbours
from nemo_gym_lite.routed_model import RoutedModel


def with_tasks_together(neighbours: Neighbours, agent_names: Sequence[str]) -> Neighbours:
    """The servers, where the models that these agents ask from here have affinity by task unless they say otherwise.

    Models that only a running server asks keep what that was started with.

    Raises:
        ConfigError: An agent is not configured.
    """
    tree = deepcopy(neighbours.tree)
    for seat in seats(neighbours.servers, agent_names, models_near=neighbours.whole):
        if seat.model is not None and seat.model_near and issubclass(load_server_class(seat.model), RoutedModel):
            settings = tree[seat.model.name][seat.model.server_type][seat.model.implementation]
            settings["routing"] = {"session_affinity": "task", **(settings.get("routing") or {})}
    return replace(neighbours, tree=tree, servers=server_instances(tree, need_code=False))
