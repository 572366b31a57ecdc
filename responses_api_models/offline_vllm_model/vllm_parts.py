"""All that is vLLM's own: its arguments, its engine, and the app that `vllm serve` serves.

Importing it takes seconds, so it is imported when an engine starts. The parts are those of vLLM's own server, so that
an answer is the same with and without HTTP between.
"""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, NoReturn, cast

from starlette.types import ASGIApp
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.async_llm import AsyncLLM

from nemo_gym_lite.errors import ConfigError
from responses_api_models.local_vllm_model.arguments import refuse_unknown, without_needless, words

try:
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
except ImportError:  # before 0.31
    from vllm.entrypoints.openai.api_server import build_app, init_app_state
    from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args
try:
    from vllm.utils.argparse_utils import FlexibleArgumentParser
except ImportError:  # before 0.12
    from vllm.utils import FlexibleArgumentParser
try:
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager
except ImportError:  # before 0.14
    from vllm.entrypoints.openai.tool_parsers import ToolParserManager
    from vllm.reasoning import ReasoningParserManager


class _Parser(FlexibleArgumentParser):  # type: ignore[misc]  # vLLM has no types for us
    """Says what is wrong in place of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"engine_args: {message}", "`vllm serve --help=all` lists what this version of vLLM knows")


def read_arguments(arguments: Mapping[str, Any]) -> Namespace:
    """Read arguments as `vllm serve` does.

    Raises:
        ConfigError: This version of vLLM does not know an argument, or does not take its value.
    """
    parser = make_arg_parser(_Parser())
    known = {flag.lstrip("-") for flag in parser._option_string_actions}
    refuse_unknown(arguments, known)
    args = parser.parse_args(words(without_needless(arguments, known)))
    try:
        validate_parsed_serve_args(args)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"engine_args: {error}") from error
    if plugin := getattr(args, "tool_parser_plugin", None):
        ToolParserManager.import_tool_parser(plugin)
    if plugin := getattr(args, "reasoning_parser_plugin", None):
        ReasoningParserManager.import_reasoning_parser(plugin)
    return cast("Namespace", args)


def make_engine(args: Namespace) -> Any:
    """Load the model into processes of its own and return the engine that talks to them; takes as long as it takes."""
    return AsyncLLM.from_engine_args(AsyncEngineArgs.from_cli_args(args), usage_context=UsageContext.OPENAI_API_SERVER)


class _NobodysServer:
    """In place of the server that an engine's end would stop."""

    should_exit = False


async def make_app(engine: Any, args: Namespace) -> ASGIApp:
    """The app of `vllm serve` over an engine, to be called and not served."""
    await engine.reset_mm_cache()  # what the engine tried itself with
    tasks = await engine.get_supported_tasks()
    app = build_app(args, tasks, engine.model_config)
    await init_app_state(engine, app.state, args, tasks)
    app.state.server = _NobodysServer()
    return cast("ASGIApp", app)
