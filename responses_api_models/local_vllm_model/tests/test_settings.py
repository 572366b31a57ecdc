"""Settings become command lines, variables and logs of the engines."""

import pytest
import yaml

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.config.roots import INSTALL_ROOT
from nemo_gym_lite.config.short_forms import SETTINGS
from nemo_gym_lite.errors import ConfigError
from responses_api_models.local_vllm_model.app import LocalVLLMModelConfig, plans
from responses_api_models.local_vllm_model.gpus import gpus_per_replica
from responses_api_models.local_vllm_model.tests.composing import (
    BLOCK,
    FILE,
    NoOptions,
    composed_of,
    config_of,
    plans_of,
)

ARGUMENTS = {
    "gpu_memory_utilization": (0.95, "--gpu-memory-utilization 0.95"),
    "max_model_len": (2048, "--max-model-len 2048"),
    "max_num_batched_tokens": (8192, "--max-num-batched-tokens 8192"),
    "max_num_seqs": (256, "--max-num-seqs 256"),
    "dtype": ("bfloat16", "--dtype bfloat16"),
    "enable_prefix_caching": ("true", "--enable-prefix-caching"),
    "enable_chunked_prefill": ("false", "--no-enable-chunked-prefill"),
    "trust_remote_code": ("false", ""),  # the stand-in has no word for leaving off what it leaves off anyway
    "tensor_parallel_size": ("null", ""),
}
BY_DEFAULT = "--served-model-name tiny --enable-auto-tool-choice --tool-call-parser hermes"


async def test_arguments_of_the_engine_reach_its_command_line(folder):
    [plan] = await plans_of(folder, *(f"engine_args.{name}={value}" for name, (value, _) in ARGUMENTS.items()))

    wanted = " ".join([BY_DEFAULT, *(words for _, words in ARGUMENTS.values() if words)])
    line = " ".join(plan.command)
    assert line.endswith(wanted), line
    assert line.endswith(plan.log.read_text().rpartition("vllm serve ")[2].strip())


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("engine_args.max_model_length=4", "does not know `max_model_length`", "did you mean `max_model_len`"),
        ("engine_args.swap-space=4", "does not know `swap-space`", "take them out"),
        ("engine_args.port=4", "engine_args names port", "`engine_ports:`"),
        ("engine_args.api_key=sk-1", "engine_args names api_key", "`api_key:` beside engine_args"),
        ("num_replicas=0", "num_replicas is 0, not a number from 1", "base_url"),
        ("env_vars=[a]", r"env_vars is \['a'\], not names with texts", "HF_HUB_OFFLINE"),
        ("num_replicas=5", "5 x 1 GPUs are needed .* 4,5,6,7", "lower num_replicas"),
        ("executable=/nowhere/vllm", "executable '/nowhere/vllm' is no program", "pip install vllm"),
    ],
)
async def test_what_cannot_work_is_said_with_what_to_do(folder, word, message, hint):
    with pytest.raises(ConfigError, match=message) as caught:
        await plans_of(folder, word)
    assert hint in caught.value.hint


async def test_the_short_form_leads_to_the_same_command_line(folder):
    [long] = await plans_of(folder, *(f"engine_args.{name}={value}" for name, (value, _) in ARGUMENTS.items()))
    port = int(long.url.rpartition(":")[2])
    short = {"model_name": "tiny", "executable": f"{folder}/vllm", "hang_s": 7, "engine_ports": [port]}
    arguments = {name: yaml.safe_load(str(value)) for name, (value, _) in ARGUMENTS.items()}
    (folder / "my_vllm.yaml").write_text(yaml.safe_dump({"vllm_model": short | arguments}, sort_keys=False))

    config = config_of(compose(["+config_paths=[my_vllm.yaml]"], NoOptions))
    [plan] = await plans(config, None)

    assert plan.command == long.command
    assert config.hang_s == 7


def test_the_short_form_knows_every_setting_of_the_server():
    elsewhere = {"name", "entrypoint", "domain", "model", "base_url", "engine_args"}
    assert set(LocalVLLMModelConfig.model_fields) - elsewhere == SETTINGS


async def test_the_hubs_token_reaches_the_engines_and_no_eye(folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "of the shell")
    secret = "hf_of_the_configuration"

    async def variable(*words, token):
        [plan] = await plans_of(folder, *words, token=token)
        assert secret not in plan.log.read_text() + " ".join(plan.command)
        return plan.variables["HF_TOKEN"]

    assert await variable(token=None) == "of the shell"
    assert await variable(token=secret) == secret
    assert await variable("env_vars={HF_TOKEN: of the engines}", token=secret) == "of the engines"
    composed = composed_of(folder, top=[f"+hf_token={secret}"])
    assert composed.tree.hf_token == secret
    assert secret not in str(mask_secrets(composed.tree))


async def test_runs_of_one_folder_have_gpus_ports_and_logs_of_their_own(folder, monkeypatch):
    runs = []
    for gpus in ("4,5", "6,7"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        runs.append(await plans_of(folder, "num_replicas=2"))

    first, second = runs
    assert [plan.variables["CUDA_VISIBLE_DEVICES"] for plan in first + second] == ["4", "5", "6", "7"]
    names = ["policy_model_replica_1.log", "policy_model_replica_2.log"]
    assert [plan.log.name for plan in first] == names
    assert [plan.log.name for plan in second] == ["policy_model_replica_1.2.log", "policy_model_replica_2.2.log"]
    for plan in first + second:
        assert f"--port {plan.url.rpartition(':')[2]} " in plan.log.read_text()


def test_nemo_gyms_own_keys_mean_the_same(folder):
    composed = compose(
        [
            "+config_paths=[]",
            *(f"+{BLOCK}.{word}" for word in ("entrypoint=app.py", "model=tiny", "debug=false", "api_key=dummy")),
            f"+{BLOCK}.vllm_serve_kwargs={{tensor_parallel_size: 2}}",
            f"+{BLOCK}.vllm_serve_env_vars={{VLLM_RAY_DP_PACK_STRATEGY: strict}}",
        ],
        NoOptions,
    )

    config = config_of(composed)

    assert config.engine_args == {"tensor_parallel_size": 2}
    assert config.env_vars == {"VLLM_RAY_DP_PACK_STRATEGY": "strict"}
    assert config.base_url == [f"http://127.0.0.1:{config.engine_ports[0]}/v1"]


@pytest.mark.parametrize("preset", sorted(path.stem for path in (INSTALL_ROOT / "configs/hardware").glob("*.yaml")))
def test_presets_of_machines_add_to_the_model_and_use_every_gpu(preset):
    composed = compose([f"+config_paths=[{FILE},configs/hardware/{preset}.yaml]", "+policy_model_name=m"], NoOptions)

    config = config_of(composed)

    assert config.num_replicas * gpus_per_replica(config.engine_args) == int(preset.partition("x")[0])
    assert config.engine_args["tool_call_parser"] == "hermes"
