# Scores verse by its form and by what a judge model says of it.
import re
from typing import Any, Optional

from pydantic import ConfigDict

from nemo_gym.base_resources_server import (
    BaseMultiRewardVerifyResponse,
    BaseResourcesServerConfig,
    BaseRunRequest,
    BaseVerifyRequest,
    ReverifyMode,
    SimpleResourcesServer,
)
from nemo_gym.config_types import ModelServerRef
from nemo_gym.global_config import ROLLOUT_INDEX_KEY_NAME, TASK_INDEX_KEY_NAME
from nemo_gym.judge import call_judge
from nemo_gym.openai_utils import (
    NeMoGymEasyInputMessage,
    NeMoGymResponse,
    NeMoGymResponseCreateParamsNonStreaming,
)
from nemo_gym.prompt import PromptConfig, fill_prompt
from nemo_gym.reward_profile import compute_pass_majority_metrics, compute_subset_metrics, highest_k_metrics

QUESTION = PromptConfig(
    system="You judge verse. Say {{nothing}} but your verdict.",
    user="These lines should be about {theme}:\n\n{verse}\n\nAre they? Say [[FITS]] or [[MISSES]].",
)
VERDICT = re.compile(r"\[\[(FITS|MISSES)\]\]")


class VerseCriticConfig(BaseResourcesServerConfig):
    REVERIFY_MODE = ReverifyMode.STATELESS

    judge_model_server: ModelServerRef
    judge_responses_create_params: NeMoGymResponseCreateParamsNonStreaming
    lines: int = 2


class VerseCriticRunRequest(BaseRunRequest):
    theme: str
    subject: Optional[str] = None


class VerseCriticVerifyRequest(VerseCriticRunRequest, BaseVerifyRequest):
    model_config = ConfigDict(extra="allow")


class VerseCriticVerifyResponse(BaseMultiRewardVerifyResponse):
    model_config = ConfigDict(extra="allow")

    verdict: Optional[str] = None
    judge_says: str


class VerseCriticServer(SimpleResourcesServer):
    config: VerseCriticConfig

    async def verify(self, body: VerseCriticVerifyRequest) -> VerseCriticVerifyResponse:
        verse = body.response.output_text.strip()
        says = await self._ask_judge(body.theme, verse)
        found = VERDICT.search(says)
        form = float(len(verse.splitlines()) == self.config.lines)
        sense = float(found is not None and found.group(1) == "FITS")
        return VerseCriticVerifyResponse(
            **body.model_dump(),
            reward=(form + sense) / 2,
            reward_components={"form": form, "sense": sense},
            form=form,
            verdict=found and found.group(1),
            judge_says=says,
        )

    async def _ask_judge(self, theme: str, verse: str) -> str:
        filled = fill_prompt(QUESTION, {"theme": theme, "verse": verse})
        params = self.config.judge_responses_create_params.model_copy(deep=True)
        params.input = [NeMoGymEasyInputMessage(role=each["role"], content=each["content"]) for each in filled]
        response = await call_judge(
            self.server_client,
            server_name=self.config.judge_model_server.name,
            url_path="/v1/responses",
            json=params,
            response_model=NeMoGymResponse,
        )
        return "".join(
            part.text
            for item in response.output
            if item.type == "message"
            for part in item.content
            if part.type == "output_text"
        )

    @staticmethod
    def _scores(row: dict) -> dict:
        return {"accuracy": row["reward"] == 1.0, "form": row["form"]}

    def compute_metrics(self, tasks: list[list[dict[str, Any]]]) -> dict[str, Any]:
        metrics, _, _, _ = compute_pass_majority_metrics(tasks, score_fn=self._scores, answer_key="verdict")
        metrics |= compute_subset_metrics(tasks, "subject", score_fn=self._scores, answer_key="verdict")
        metrics["per_task_metrics"] = [
            {
                TASK_INDEX_KEY_NAME: task[0][TASK_INDEX_KEY_NAME],
                "judged_in_turn": [row[ROLLOUT_INDEX_KEY_NAME] for row in task if row.get("verdict")],
            }
            for task in tasks
        ]
        return metrics

    def get_key_metrics(self, agent_metrics: dict[str, Any]) -> dict[str, Any]:
        return {
            "mean/reward": agent_metrics["mean/reward"],
            **highest_k_metrics(agent_metrics, "pass@{k}", score_names=["accuracy"]),
            **highest_k_metrics(agent_metrics, "majority@{k}", exclude_names=["no_answer"]),
        }


if __name__ == "__main__":
    VerseCriticServer.run_webserver()
