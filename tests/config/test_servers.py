"""Which blocks become servers, where they listen, and which class they are."""

import pickle
import socket
import sys

import pytest
from omegaconf import OmegaConf
from pydantic import BaseModel

from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.ports import machine_ip
from nemo_gym_lite.config.roots import INSTALL_ROOT
from nemo_gym_lite.config.servers import load_server_class, server_instances
from nemo_gym_lite.errors import ConfigError

FILES = "+config_paths=[weather.yaml,model.yaml]"


class NoOptions(BaseModel):
    """A command without options."""


def composed(*argv):
    return compose(argv, NoOptions)


def by_name(*argv):
    return {server.name: server for server in composed(*argv).servers}


def test_every_block_with_an_implementation_and_an_entrypoint_is_a_server(project, tmp_path):
    servers = by_name(FILES)

    weather, agent, model = servers.values()
    assert list(servers) == ["weather", "weather_agent", "policy_model"]
    assert (weather.server_type, weather.implementation) == ("resources_servers", "weather")
    assert weather.module == "resources_servers.weather.app"
    assert weather.entrypoint == tmp_path / "resources_servers/weather/app.py"
    assert agent.reference("model_server") == "policy_model"
    assert agent.reference("judge") is None
    assert set(agent.references()) == {"weather", "policy_model"}
    assert model.config["api_key"] == "sk-of-the-user"
    assert model.config["name"] == "policy_model"
    assert model.url == f"http://127.0.0.1:{model.port}"


def test_the_tree_holds_the_same_addresses_as_the_servers(project):
    result = composed(FILES)

    assert server_instances(result.tree) == result.servers
    assert server_instances(OmegaConf.to_container(result.tree, resolve=True)) == result.servers
    assert set(result.tree.disallowed_ports) == {11000, *(server.port for server in result.servers)}


def test_ports_are_free_distinct_and_in_the_default_range(project):
    ports = [server.port for server in composed(FILES).servers]

    assert len(set(ports)) == 3
    assert all(10_001 <= port <= 20_000 for port in ports)
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_a_port_in_use_is_not_given_out(project):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(ConfigError, match=f"no free port on 127.0.0.1 between {port} and {port}"):
            composed(FILES, f"+port_range_low={port}", f"+port_range_high={port}")


def test_explicit_addresses_are_kept(project):
    servers = by_name(
        FILES,
        "++weather.resources_servers.weather.port=8123",
        "++weather.resources_servers.weather.host=engine-room",
        "+default_host=0.0.0.0",
    )

    assert servers["weather"].url == "http://engine-room:8123"
    assert servers["policy_model"].host == "0.0.0.0"


def test_the_head_server_has_its_own_address(project):
    assert (composed(FILES).head_server.host, composed(FILES).head_server.port) == ("127.0.0.1", 11000)
    assert composed(FILES, "+head_server.port=11001").head_server.port == 11001


def test_placement_is_taken_from_the_block(project):
    assert by_name(FILES)["weather"].placement is None
    assert by_name(FILES, "++weather.resources_servers.weather.placement=near")["weather"].placement == "near"


def test_agents_take_over_what_is_said_for_all_of_them(project):
    agent = by_name(FILES, "+skip_verification=true")["weather_agent"]
    assert agent.config["skip_verification"] is True

    own = "++weather_agent.responses_api_agents.looping_agent.skip_verification=false"
    assert by_name(FILES, "+skip_verification=true", own)["weather_agent"].config["skip_verification"] is False


def test_a_model_block_may_be_an_alias_of_another(project):
    project("judge.yaml", "judge_model: ${policy_model}")

    servers = by_name("+config_paths=[weather.yaml,model.yaml,judge.yaml]")

    assert servers["judge_model"].config["base_url"] == servers["policy_model"].config["base_url"]
    assert servers["judge_model"].port != servers["policy_model"].port


def test_an_inherited_block_leaves_no_half_server_behind(project):
    project("other.yaml", "{x: {resources_servers: {weather: {_inherit_from: weather.resources_servers.weather}}}}")
    project("agent.yaml", "weather_agent: {responses_api_agents: {looping_agent: {resources_server: {name: x}}}}")

    servers = by_name("+config_paths=[weather.yaml,model.yaml,other.yaml,agent.yaml]")

    assert set(servers) == {"x", "weather_agent", "policy_model"}


def test_a_stand_in_model_gives_way_to_a_real_one(project):
    project("dummy.yaml", "policy_model: {responses_api_models: {dummy_model: {entrypoint: app.py}}}")

    servers = by_name("+config_paths=[dummy.yaml,weather.yaml,model.yaml]")

    assert servers["policy_model"].implementation == "chat_model"


def test_reserved_keys_and_plain_mappings_are_no_servers(project):
    project("more.yaml", "{notes: {author: me}, head_server_deps: {resources_servers: {x: {entrypoint: app.py}}}}")

    assert len(composed("+config_paths=[weather.yaml,model.yaml,more.yaml]").servers) == 3


def test_lookalikes_can_be_let_pass(project, caplog):
    project("broken.yaml", "{error_on_almost_servers: false, half: {resources_servers: {weather: {port: 1}}}}")

    assert "half" not in by_name("+config_paths=[weather.yaml,model.yaml,broken.yaml]")
    assert caplog.text.count("half.resources_servers.weather.entrypoint") == 1


def test_our_agents_are_found_beside_our_package(write):
    write("agent.yaml", "agent: {responses_api_agents: {simple_agent: {entrypoint: app.py}}}")

    agent = by_name("+config_paths=[agent.yaml]")["agent"]

    assert agent.module == "responses_api_agents.simple_agent.app"
    assert agent.entrypoint == INSTALL_ROOT / "responses_api_agents/simple_agent/app.py"


def test_our_models_and_agents_stand_before_those_of_a_copy_of_nemo_gym_but_not_before_a_users(write, monkeypatch):
    monkeypatch.setenv("NEMO_GYM_EXTRA_ROOTS", "gym")
    write("gym/responses_api_agents/simple_agent/app.py", "")
    write("gym/resources_servers/mcqa/app.py", "")
    blocks = "{a: {responses_api_agents: {simple_agent: {entrypoint: app.py}}}, "
    write("both.yaml", blocks + "b: {resources_servers: {mcqa: {entrypoint: app.py, domain: other}}}}")

    users = by_name("+config_paths=[both.yaml]")
    copy = write("gym/nemo_gym/__init__.py", "").parents[1]
    ours_and_theirs = by_name("+config_paths=[both.yaml]")

    assert users["a"].entrypoint == copy / "responses_api_agents/simple_agent/app.py"
    assert ours_and_theirs["a"].entrypoint == INSTALL_ROOT / "responses_api_agents/simple_agent/app.py"
    assert ours_and_theirs["b"].entrypoint == copy / "resources_servers/mcqa/app.py"


def test_servers_of_another_machine_may_lack_their_code_here(project):
    tree = composed(FILES).tree
    tree.weather.resources_servers = {"elsewhere": tree.weather.resources_servers.weather}

    with pytest.raises(ConfigError, match="no code for"):
        server_instances(tree)
    assert server_instances(tree, need_code=False)[0].implementation == "elsewhere"


@pytest.fixture
def fresh_imports(monkeypatch):
    """Forgets what the test imports, and where it looked."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def loaded(implementation="weather", kind="resources_servers", **names):
    config = {kind: {implementation: {"entrypoint": "app.py"}}}
    (server,) = compose([], NoOptions, initial={"it": config}).servers
    return load_server_class(server)


@pytest.mark.usefixtures("fresh_imports")
def test_the_class_that_the_file_defines_is_loaded(project):
    cls = loaded()

    assert (cls.__name__, cls.__module__) == ("StandIn", "resources_servers.weather.app")
    assert loaded() is cls
    assert pickle.loads(pickle.dumps(cls)) is cls


@pytest.mark.usefixtures("fresh_imports")
def test_of_a_family_the_most_derived_class_is_loaded(project):
    project(
        "resources_servers/weather/app.py",
        """
        class SimpleServer: pass
        class Base(SimpleServer): pass
        class Derived(Base): pass
        class Config: pass
        """,
    )
    assert loaded().__name__ == "Derived"


@pytest.mark.usefixtures("fresh_imports")
def test_of_two_classes_the_one_that_the_file_runs_is_loaded(project):
    project(
        "resources_servers/weather/app.py",
        """
        class SimpleServer: pass
        class One(SimpleServer): pass
        class Two(SimpleServer): pass
        if __name__ == "__main__":
            Two.run_webserver()
        """,
    )
    assert loaded().__name__ == "Two"


@pytest.mark.usefixtures("fresh_imports")
def test_two_classes_without_an_obvious_one_are_refused(project):
    project(
        "resources_servers/weather/app.py",
        """
        class SimpleServer: pass
        class One(SimpleServer): pass
        class Two(SimpleServer): pass
        """,
    )
    with pytest.raises(ConfigError, match=r"one server class, found One, Two"):
        loaded()


@pytest.mark.usefixtures("fresh_imports")
def test_a_file_may_import_its_neighbours_and_be_found_in_an_extra_root(project, tmp_path, monkeypatch):
    project("extra/resources_servers/checker/rules.py", "ANSWER = 42")
    project(
        "extra/resources_servers/checker/app.py",
        """
        from rules import ANSWER
        class SimpleServer: pass
        class Checker(SimpleServer): answer = ANSWER
        """,
    )
    monkeypatch.setenv("NEMO_GYM_EXTRA_ROOTS", str(tmp_path / "extra"))

    assert loaded("checker").answer == 42


@pytest.mark.usefixtures("fresh_imports")
def test_a_file_that_another_root_shadows_is_loaded_by_its_path(project, tmp_path, monkeypatch):
    project("extra/resources_servers/weather/app.py", "class SimpleServer: pass\nclass Extra(SimpleServer): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert loaded().__name__ == "StandIn"

    monkeypatch.setenv("NEMO_GYM_EXTRA_ROOTS", str(tmp_path / "extra"))

    assert loaded().__name__ == "Extra"
    assert loaded() is loaded()


def test_servers_can_listen_for_other_machines(project):
    assert by_name(FILES, "+use_absolute_ip=true")["weather"].host == machine_ip()
    assert by_name(FILES)["weather"].host == "127.0.0.1"


def test_a_server_that_starts_others_says_in_a_file_which_ports_they_need(project):
    project("responses_api_models/chat_model/ports.yaml", "engine_ports: num_replicas\n")
    block = "++policy_model.responses_api_models.chat_model"

    def ports(*words):
        result = composed(FILES, *words)
        found = [server.config.get("engine_ports", []) for server in result.servers]
        given = [server.port for server in result.servers] + [port for each in found for port in each]
        assert len(set(given)) == len(given)
        assert set(result.tree.disallowed_ports) == {11000, *given}
        return found

    assert [len(each) for each in ports()] == [0, 0, 1]
    assert [len(each) for each in ports(f"{block}.num_replicas=3")] == [0, 0, 3]
    narrow = ("+port_range_low=15001", "+port_range_high=15004")  # the others have to go around 15002
    assert ports(f"{block}.engine_ports=[15002]", *narrow)[-1] == [15002]


def test_a_port_that_somebody_will_listen_on_soon_is_not_given_out(project):
    with socket.socket() as loading:  # as an engine does that binds before it loads its model
        loading.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        loading.bind(("127.0.0.1", 0))
        port = loading.getsockname()[1]
        with pytest.raises(ConfigError, match=f"no free port on 127.0.0.1 between {port} and {port}"):
            composed(FILES, f"+port_range_low={port}", f"+port_range_high={port}")
