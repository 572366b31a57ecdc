"""Episodes without a check at their end, for runs whose rollouts are scored later with `ng_verify_rollouts`."""

from collections.abc import Mapping

from nemo_gym_lite.clients import Json, ResourcesClient, ResourcesSession
from nemo_gym_lite.errors import ConfigError


class Unverified:
    """An environment that plays along and does not check.

    Args:
        resources: The environment.
    """

    def __init__(self, resources: ResourcesClient) -> None:
        self._resources = resources
        self.verifies_later = resources.verifies_later
        self.close = resources.close

    def open(self, session_id: str) -> "UnverifiedSession":
        """Start an episode's session."""
        return UnverifiedSession(self._resources.open(session_id))

    async def has_metrics(self) -> bool:
        """No: there are no scores to make metrics of."""
        return False

    async def aggregate_metrics(self, rows: list[Json]) -> Json | None:
        """None, as there are no scores."""
        return None


class UnverifiedSession:
    """One episode's session, whose check is left for later."""

    __slots__ = ("_session", "ask", "call_tool", "seed")

    def __init__(self, session: ResourcesSession) -> None:
        self._session = session
        self.seed = session.seed
        self.call_tool = session.call_tool
        self.ask = session.ask

    async def verify(self, row: Json) -> Json:
        """Nothing to add to the row."""
        return {}


async def refuse_what_cannot_wait(resources: Mapping[str, ResourcesClient], what: str) -> None:
    """Check that running environments, by the agent's name, can score stored rollouts, which `what` asks for.

    Raises:
        ConfigError: A check needs the session in which the rollout was played, which is over by then.
    """
    for name, client in resources.items():
        if not await client.verifies_later():
            raise ConfigError(
                f"{what}: the environment of {name} cannot score stored rollouts, because its check needs the session "
                "that they were played in",
                "collect with its check at the end of every rollout, which is the default (verify=inline)",
            )
