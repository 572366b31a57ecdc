"""Configurations of engines that are stood in for, and the processes that these leave traces of."""

from pydantic import BaseModel

from nemo_gym_lite.config.compose import compose
from responses_api_models.local_vllm_model.app import LocalVLLMModelConfig, plans

FILE = "responses_api_models/local_vllm_model/configs/local_vllm_model.yaml"
BLOCK = "policy_model.responses_api_models.local_vllm_model"


class NoOptions(BaseModel):
    """A command without options."""


def composed_of(folder, *words, top=()):
    return compose(
        [f"+config_paths=[{FILE}]", "+policy_model_name=tiny", f"++{BLOCK}.executable={folder}/vllm", *top]
        + [f"++{BLOCK}.{word}" for word in words],
        NoOptions,
    )


def config_of(composed):
    [instance] = composed.servers
    return LocalVLLMModelConfig.of_instance(instance.config)


async def plans_of(folder, *words, token=None):
    return await plans(config_of(composed_of(folder, "num_replicas=1", *words)), token)


def engine_pids(folder):
    """Process ids of every life of every engine, each with its child's."""
    return [[int(pid) for pid in line.split()] for line in (folder / "pids").read_text().splitlines()]
