"""Mistakes in blocks of servers, their references, code and addresses, as data."""

from nemo_gym_lite.errors import AlmostServerError, ConfigError, NoServerInstancesError, ServerRefNotFoundError
from tests.config.mistakes import FILES, MORE, Mistake


def server(fields, name="it", kind="resources_servers", implementation="weather"):
    return f"{name}: {{{kind}: {{{implementation}: {{{fields}}}}}}}"


SERVER_MISTAKES = {
    "a server type misspelt": Mistake(
        (MORE,),
        AlmostServerError,
        ("it.resource_servers",),
        "correct",
        {"more.yaml": server("entrypoint: app.py", kind="resource_servers")},
    ),
    "a server without entrypoint": Mistake(
        (MORE,),
        AlmostServerError,
        ("it.resources_servers.weather.entrypoint",),
        "correct",
        {"more.yaml": server("x: 1")},
    ),
    "a server of a name that is nearly another's": Mistake(
        (FILES, "++wether.resources_servers.weather.x=1"), AlmostServerError, ("wether.",), "did you mean `weather`"
    ),
    "a port that is no port": Mistake(
        (MORE,),
        AlmostServerError,
        ("weather.port", "99999"),
        "correct",
        {"more.yaml": server("entrypoint: a, port: 99999")},
    ),
    "a domain that is none": Mistake(
        (MORE,),
        AlmostServerError,
        ("weather.domain", "'maths'", "'math'"),
        "correct",
        {"more.yaml": server("entrypoint: app.py, domain: maths")},
    ),
    "a placement that is none": Mistake(
        (MORE,),
        AlmostServerError,
        ("weather.placement", "'nearby'"),
        "correct",
        {"more.yaml": server("entrypoint: app.py, placement: nearby")},
    ),
    "two implementations under one server": Mistake(
        (MORE,),
        AlmostServerError,
        ("policy_model.responses_api_models", "chat_model, other_model"),
        "correct",
        {"more.yaml": "policy_model: {responses_api_models: {other_model: {entrypoint: app.py}}}"},
    ),
    "a reference to a server that is not there": Mistake(
        (MORE,),
        ServerRefNotFoundError,
        ("weather_agent.model_server", "`policy_modl`", "did you mean `policy_model`"),
        "config_paths",
        {"more.yaml": "weather_agent: {responses_api_agents: {looping_agent: {model_server: {name: policy_modl}}}}"},
    ),
    "a reference without the file of the model": Mistake(
        ("+config_paths=[weather.yaml]",),
        ServerRefNotFoundError,
        ("weather_agent.model_server", "`policy_model`", "none at all"),
        "config_paths",
    ),
    "a server whose code is nowhere": Mistake(
        (MORE,),
        ConfigError,
        ("`it`", "resources_servers/wether/app.py"),
        "did you mean `weather`",
        {"more.yaml": server("entrypoint: app.py", implementation="wether")},
    ),
    "an entrypoint that is not there": Mistake(
        (MORE,), ConfigError, ("`it`", "weather/main.py"), "app.py", {"more.yaml": server("entrypoint: main.py")}
    ),
    "one port for two servers": Mistake(
        (
            FILES,
            "++weather.resources_servers.weather.port=8123",
            "++policy_model.responses_api_models.chat_model.port=8123",
        ),
        ConfigError,
        ("8123", "`weather`", "`policy_model`"),
        "free one",
    ),
    "the head server's port for a server": Mistake(
        (FILES, "++weather.resources_servers.weather.port=11000"), ConfigError, ("11000", "`head_server`"), "free one"
    ),
    "a file of one's own that is called as the one that names ports": Mistake(
        (FILES,),
        ConfigError,
        ("resources_servers/weather/ports.yaml", "`web: [80, 443]`"),
        "another name",
        {"resources_servers/weather/ports.yaml": "web: [80, 443]"},
    ),
    "a port range upside down": Mistake(
        (FILES, "+port_range_low=9000", "+port_range_high=8000"), ConfigError, ("9000", "8000"), "lower one first"
    ),
    "a key of the head server misspelt": Mistake(
        (FILES, "+head_server.prot=1"), ConfigError, ("head_server", "`prot`"), "did you mean `port`"
    ),
    "a head server that is a number": Mistake(
        (FILES, "+head_server=11001"), ConfigError, ("11001",), "head_server.port"
    ),
    "no servers at all": Mistake((), NoServerInstancesError, ("no server",), "+config_paths="),
    "files without servers": Mistake(
        ("+config_paths=[more.yaml]",), NoServerInstancesError, ("more.yaml",), "+config_paths=", {"more.yaml": "x: 1"}
    ),
    "an engine without a model": Mistake(
        ("+config_paths=[more.yaml]",),
        ConfigError,
        ("`vllm_model`", "max_model_len"),
        "model_name",
        {"more.yaml": "vllm_model: {max_model_len: 8192}"},
    ),
}
