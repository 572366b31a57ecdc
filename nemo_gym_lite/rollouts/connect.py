"""Decides for every edge of the line whether it is near or far, and builds the clients that play rollouts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from nemo_gym_lite.base_resources_server import SimpleResourcesServer
from nemo_gym_lite.base_responses_api_agent import SimpleResponsesAPIAgent
from nemo_gym_lite.base_responses_api_model import SimpleResponsesAPIModel
from nemo_gym_lite.clients import AgentClient, Json, ModelClient, ResourcesClient
from nemo_gym_lite.config.requirements import check_requirements
from nemo_gym_lite.config.servers import ServerInstance, load_server_class
from nemo_gym_lite.config_types import Deadlines
from nemo_gym_lite.errors import ConfigError, GymError
from nemo_gym_lite.rollouts.deferred import Unverified
from nemo_gym_lite.routed_model import RoutedModelClient
from nemo_gym_lite.routing.engine_metrics import OwnEngine
from nemo_gym_lite.serving.far_agent import FarAgent
from nemo_gym_lite.serving.far_model import FarModel
from nemo_gym_lite.serving.far_resources import FarResources
from nemo_gym_lite.serving.host import reason
from nemo_gym_lite.serving.near_resources import NearResources


@dataclass(frozen=True, slots=True)
class Seat:
    """One agent and the servers it plays with, each with its side.

    Attributes:
        agent: The agent's instance.
        model: The policy model's instance; None if the agent names none.
        resources: The environment's instance; None if the agent names none.
        agent_near: Whether the agent plays in this process.
        model_near: Whether this process talks to the engine itself.
        resources_near: Whether the environment's object lives in this process.
    """

    agent: ServerInstance
    model: ServerInstance | None
    resources: ServerInstance | None
    agent_near: bool
    model_near: bool
    resources_near: bool


@dataclass(slots=True)
class Clients:
    """What a collector plays with.

    Attributes:
        agents: By instance name of the agent.
        resources: The environment behind each agent, for its own metrics.
        near_resources: The instances of those that live in this process.
        tree: The resolved configuration.
        endpoints: Number of inference endpoints behind the near models, at least 1.
    """

    agents: dict[str, AgentClient] = field(default_factory=dict)
    resources: dict[str, ResourcesClient] = field(default_factory=dict)
    near_resources: dict[str, ServerInstance] = field(default_factory=dict)
    tree: Json = field(default_factory=dict)
    models: dict[str, ModelClient] = field(default_factory=dict)
    endpoints: int = 1

    def engines(self) -> list[OwnEngine]:
        """The engines in this process, which have to run before anybody plays."""
        models = (model for model in self.models.values() if isinstance(model, RoutedModelClient))
        return [model.engine for model in models if model.engine is not None]

    async def close(self) -> None:
        """Close every client."""
        closing: list[AgentClient | ResourcesClient | ModelClient] = [*self.agents.values(), *self.resources.values()]
        for client in [*closing, *self.models.values()]:
            await client.close()


def seats(servers: Sequence[ServerInstance], agent_names: Iterable[str], *, models_near: bool = True) -> list[Seat]:
    """Place the agents of a run.

    Args:
        servers: Every configured server.
        agent_names: The agents that will play.
        models_near: False if the configuration came without its secrets, so only served models can be used.

    Raises:
        ConfigError: An agent is not configured.
    """
    by_name = {server.name: server for server in servers}
    return [_seat(by_name, name, models_near) for name in agent_names]


def servers_of(placed: Iterable[Seat]) -> list[ServerInstance]:
    """The servers that sit in these seats, each once."""
    found = (server for seat in placed for server in (seat.agent, seat.model, seat.resources))
    return list({server.name: server for server in found if server is not None}.values())


def processes(placed: Iterable[Seat], servers: Sequence[ServerInstance]) -> list[ServerInstance]:
    """The servers that have to run as processes for these seats, each once, in the order of the configuration."""
    wanted: set[str] = set()
    for seat in placed:
        near = {
            server.name
            for server, is_near in (
                (seat.agent, seat.agent_near),
                (seat.model, seat.model_near and seat.agent_near),
                (seat.resources, seat.resources_near and seat.agent_near),
            )
            if server is not None and is_near
        }
        wanted |= {name for name in _reachable(seat.agent.name, servers) if name not in near}
        wanted |= {server.name for server in servers if server.name in near and _is_engine(server)}
    return [server for server in servers if server.name in wanted]


def processes_of_checks(placed: Iterable[Seat], servers: Sequence[ServerInstance]) -> list[ServerInstance]:
    """The same for checks without episodes: environments that are not near, and what they refer to, as a judge."""
    wanted: set[str] = set()
    for environment, near in ((seat.resources, seat.resources_near) for seat in placed):
        if environment is not None:
            wanted |= _reachable(environment.name, servers) - ({environment.name} if near else set())
    return [server for server in servers if server.name in wanted]


def connect(
    placed: Iterable[Seat], http: aiohttp.ClientSession, deadlines: Deadlines, tree: Json, *, scored: bool = True
) -> Clients:
    """Build the clients of the seats.

    Args:
        placed: The seats.
        http: This process's HTTP session.
        deadlines: When waits end.
        tree: The resolved configuration, for environments in this process.
        scored: False leaves every rollout's check for later.

    Raises:
        ConfigError: Checks are left for later, and an agent plays in a server of its own, which checks by itself.
    """
    clients = Clients(tree=tree)
    for seat in placed:
        if not scored and not seat.agent_near:
            raise ConfigError(
                f"verify=deferred: {seat.agent.name} plays in a server of its own, which also checks",
                "leave `verify` out; rollouts can be scored again with ng_verify_rollouts all the same",
            )
        if seat.resources is not None:
            found = _environment(seat, seat.resources, seat.agent_near, clients, http, deadlines)
            clients.resources[seat.agent.name] = found if scored else Unverified(found)
        clients.agents[seat.agent.name] = _agent(seat, clients, http, deadlines)
    clients.endpoints = max(1, sum(model.endpoint_count for model in clients.models.values()))
    return clients


def _seat(by_name: dict[str, ServerInstance], name: str, models_near: bool) -> Seat:
    agent = by_name.get(name)
    if agent is None or agent.server_type != "responses_api_agents":
        known = sorted(each.name for each in by_name.values() if each.server_type == "responses_api_agents")
        raise ConfigError(
            f"agent_name: no agent {name!r} is configured", f"configured agents: {', '.join(known) or 'none'}"
        )
    model = by_name.get(agent.reference("model_server") or "")
    resources = by_name.get(agent.reference("resources_server") or "")
    return Seat(
        agent,
        model,
        resources,
        agent_near=_can_be_near(agent, SimpleResponsesAPIAgent) and model is not None and resources is not None,
        model_near=models_near and model is not None and _can_be_near(model, SimpleResponsesAPIModel),
        resources_near=resources is not None and resources.placement == "near",
    )


def _can_be_near(server: ServerInstance, base: type[SimpleResponsesAPIAgent | SimpleResponsesAPIModel]) -> bool:
    """Whether the class brings a near side and the configuration does not forbid it.

    A subclass that plays or answers in its own way has outgrown the near side that it inherits.
    """
    if server.placement == "far":  # its packages may not even be installed here
        return False
    ways = {"near_client", "run", "responses", "chat_completions"}
    latest = next((cls for cls in _class_of(server).__mro__ if ways & vars(cls).keys()), base)
    return latest is not base and "near_client" in vars(latest)


@contextmanager
def _blamed_on(server: ServerInstance) -> Iterator[None]:
    """Tell what an author's code raises as `ng_run` does, without a traceback."""
    try:
        yield
    except GymError:
        raise
    except Exception as error:  # a module may raise anything while it is imported
        message, hint = reason(error, server.entrypoint.parent)
        raise ConfigError(f"server {server.name!r} cannot be loaded: {message}", hint) from error


def _class_of(server: ServerInstance) -> type[Any]:
    check_requirements([server])
    with _blamed_on(server):
        return load_server_class(server)


def _object_of(server: ServerInstance, tree: Json) -> SimpleResourcesServer:
    server_class = _class_of(server)
    with _blamed_on(server):
        made: SimpleResourcesServer = server_class.from_tree(tree, server.name)
        return made


def _is_engine(server: ServerInstance) -> bool:
    """Whether the server is itself the engine that a near client talks to."""
    return bool(getattr(_class_of(server), "is_engine", False))


def _reachable(start: str, servers: Sequence[ServerInstance]) -> set[str]:
    """Names of a server and everything it refers to, through any number of references."""
    by_name = {server.name: server for server in servers}
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in found and name in by_name:
            found.add(name)
            waiting += by_name[name].references()
    return found


def connect_environments(
    placed: Iterable[Seat], http: aiohttp.ClientSession, deadlines: Deadlines, tree: Json
) -> Clients:
    """Build the clients of the seats' environments only, for checks without episodes."""
    clients = Clients(tree=tree)
    for seat in placed:
        if seat.resources is not None:
            found = _environment(seat, seat.resources, True, clients, http, deadlines)
            clients.resources[seat.agent.name] = found
    return clients


def _environment(
    seat: Seat,
    server: ServerInstance,
    may_be_near: bool,
    clients: Clients,
    http: aiohttp.ClientSession,
    deadlines: Deadlines,
) -> ResourcesClient:
    if seat.resources_near and may_be_near:
        clients.near_resources[seat.agent.name] = server
        return NearResources(_object_of(server, clients.tree), deadlines)
    return FarResources(server.url, http, deadlines)


def _agent(seat: Seat, clients: Clients, http: aiohttp.ClientSession, deadlines: Deadlines) -> AgentClient:
    if not seat.agent_near or seat.model is None:
        return FarAgent(seat.agent.url, http, deadlines)
    model = clients.models.get(seat.model.name)
    if model is None:
        model = clients.models[seat.model.name] = _model(seat, seat.model, http, deadlines)
    near: AgentClient | None = _class_of(seat.agent).near_client(
        seat.agent, model, clients.resources[seat.agent.name], deadlines
    )
    return near or FarAgent(seat.agent.url, http, deadlines)


def _model(seat: Seat, server: ServerInstance, http: aiohttp.ClientSession, deadlines: Deadlines) -> ModelClient:
    if seat.model_near:
        near: ModelClient | None = _class_of(server).near_client(server, http, deadlines)
        if near is not None:
            return near
    return FarModel(server.url, http, deadlines)
