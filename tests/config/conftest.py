"""A user's folder with real files: every test of the configuration runs in one of its own."""

import textwrap

import pytest

SERVER_FILE = """
class SimpleServer:
    pass


class StandIn(SimpleServer):
    pass
"""

WEATHER = """
    weather:
      resources_servers:
        weather: {entrypoint: app.py, domain: agent}
    weather_agent:
      responses_api_agents:
        looping_agent:
          entrypoint: app.py
          resources_server: {type: resources_servers, name: weather}
          model_server: {type: responses_api_models, name: policy_model}
"""

MODEL = """
    policy_model:
      responses_api_models:
        chat_model:
          entrypoint: app.py
          base_url: ${policy_base_url}
          api_key: ${policy_api_key}
"""

ENVIRONMENT = """
    policy_base_url: http://127.0.0.1:8000/v1
    policy_api_key: sk-of-the-user
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file of the user's folder, which is the working directory; `env.yaml` is there and empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEMO_GYM_EXTRA_ROOTS", raising=False)

    def write_file(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    write_file("env.yaml", "")
    return write_file


@pytest.fixture
def project(write):
    """Writes three servers that compose: `weather.yaml`, `model.yaml`, and `env.yaml` with the model's address."""
    for folder in (
        "resources_servers/weather",
        "responses_api_agents/looping_agent",
        "responses_api_models/chat_model",
    ):
        write(f"{folder}/app.py", SERVER_FILE)
    write("weather.yaml", WEATHER)
    write("model.yaml", MODEL)
    write("env.yaml", ENVIRONMENT)
    return write
