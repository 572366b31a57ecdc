"""Plays one rollout from its spec to its line; whatever goes wrong on the way becomes a line too."""

import asyncio
import time
from collections.abc import Mapping

from nemo_gym_lite.clients import AgentClient
from nemo_gym_lite.episode import Episodes
from nemo_gym_lite.errors import FailedCallError
from nemo_gym_lite.rollouts.line import Line, delivered, failed
from nemo_gym_lite.rollouts.plan import Spec
from nemo_gym_lite.row_fields import ROLLOUT_INDEX, TASK_INDEX

_GRACE_S = 1.0
"""Agents of ours end an episode by themselves in time, and tell what they had played; this is for all others, and for
an environment that swallows one cancellation."""


class Player:
    """Plays rollouts with agents, any number at once.

    Args:
        agents: By instance name, every agent that specs name.
        episode_s: Seconds after which an episode is given up, as failure class `timeout`.
        scored: Whether every rollout must end with a reward; False where it is checked later.

    Attributes:
        episodes: Those that are being played.
    """

    def __init__(self, agents: Mapping[str, AgentClient], episode_s: float = 3600.0, *, scored: bool = True) -> None:
        self._agents = agents
        self._episode_s = episode_s
        self._scored = scored
        self.episodes = Episodes()

    async def play(self, spec: Spec, attempts: int = 0) -> Line:
        """Play a rollout that failed `attempts` times in earlier runs; only a cancellation gets out of here."""
        episode = self.episodes.begin(f"task {spec.task_index}, rollout {spec.rollout_index}", time.monotonic())
        row = {**spec.row, TASK_INDEX: spec.task_index, ROLLOUT_INDEX: spec.rollout_index}
        try:
            async with asyncio.timeout(self._episode_s + _GRACE_S):
                fields = await self._agents[spec.agent_name].run(row)
            return delivered(spec, fields, attempts, scored=self._scored)
        except FailedCallError as error:
            return failed(spec, error, attempts)
        except TimeoutError:
            message = f"the episode took longer than {self._episode_s:g} s"
            return failed(spec, FailedCallError("timeout", message), attempts)
        except Exception as error:  # an agent is the user's code: its bug costs its rollout, not the run
            return failed(spec, FailedCallError("agent_failed", repr(error)), attempts)
        finally:
            self.episodes.end(episode)
