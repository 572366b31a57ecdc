"""The three edges of a rollout, each one Protocol with a near side (this process) and a far side (HTTP).

    collector → agent       AgentClient      near: an agent object         far: `POST /run`
    agent → model           ModelClient      near: dialect + router        far: `POST /v1/responses`
    agent → resources       ResourcesClient  near: the server's own object far: HTTP with the session's cookies

The near side is the truth, and an HTTP handler is an adapter over it. Both sides give the same rows. Everything
that crosses an edge is plain JSON data (dicts as orjson gives them), validated once where it enters.
"""

from typing import Any, Protocol

Json = dict[str, Any]
"""A JSON object."""


class ModelClient(Protocol):
    """Asks a model. One client serves every session of a process."""

    @property
    def endpoint_count(self) -> int:
        """Number of inference endpoints behind it, as far as it knows; how many rollouts it can carry follows it."""
        ...

    async def respond(self, params: Json, session_id: str) -> Json:
        """Play one turn.

        Args:
            params: Responses create params (`input`, `tools`, `temperature`, ...); not changed.
            session_id: Id of the episode; all its turns go to one endpoint while that endpoint is healthy.

        Returns:
            A Responses object. An over-long prompt is no error: the answer is empty and `incomplete`.

        Raises:
            FailedCallError: No answer was to be had within the retry budget.
        """
        ...

    def end_session(self, session_id: str) -> None:
        """Forget a finished session; unknown ids are ignored."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class ResourcesSession(Protocol):
    """One episode's view of a resources server: its state and cookies are this session's alone."""

    async def seed(self, row: Json) -> Json:
        """Set up the session's state from the input row; an empty object where the environment needs none.

        Raises:
            FailedCallError: The server refused or could not be reached.
        """
        ...

    async def call_tool(self, name: str, arguments: Json) -> str:
        """Call a tool and return the reply's body verbatim, whatever its status: the model reads it.

        Raises:
            FailedCallError: The server could not be reached or did not answer in time.
        """
        ...

    async def ask(self, path: str, value: Json, otherwise: str) -> Json:
        """POST `value` to a route that the environment's protocol adds, as `/step`.

        Returns:
            The JSON object of the reply, empty if it is none.

        Raises:
            FailedCallError: The reply is an error; of class `otherwise` if it names none.
        """
        ...

    async def verify(self, row: Json) -> Json:
        """Score `row`, an input row with its `response`.

        Returns:
            `reward` and the environment's own fields, without the echo of the request's
            `responses_create_params` and `response`.

        Raises:
            FailedCallError: The check failed; that is never a reward of 0.
        """
        ...


class ResourcesClient(Protocol):
    """Opens sessions on one resources server."""

    def open(self, session_id: str) -> ResourcesSession:
        """Start an episode's session; costs nothing until it is used."""
        ...

    async def verifies_later(self) -> bool:
        """Whether a stored rollout can be scored, without the session in which it was played."""
        ...

    async def has_metrics(self) -> bool:
        """Whether the environment computes metrics of its own; if not, nobody needs to gather rows for it."""
        ...

    async def aggregate_metrics(self, rows: list[Json]) -> Json | None:
        """Let the environment compute its own metrics over `rows` (stripped of prompts and responses).

        Returns:
            `agent_metrics` and `key_metrics`, or None if it has no metrics of its own. A served environment adds
            `group_level_metrics`; the collector makes those itself.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class AgentClient(Protocol):
    """Plays rollouts."""

    async def run(self, row: Json) -> Json:
        """Play one episode.

        Args:
            row: An input row with `responses_create_params`; other fields are the environment's. Not changed.

        Returns:
            The fields to add to the row: `response` (a Responses object with all turns' output and summed
            usage), `reward`, and the environment's own.

        Raises:
            FailedCallError: A call it depends on failed; the collector writes it to the sidecar.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
