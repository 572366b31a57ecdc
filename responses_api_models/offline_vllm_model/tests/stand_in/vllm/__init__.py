"""A package that looks like vLLM from where we use it: arguments, an engine in a process of its own, and its app.

`STAND_IN_DIES` in the environment says what happens while the model loads: `out of memory`, or `never` without getting
ready; `STAND_IN_IMPORT_S` is how long the import takes. A request that holds `die now` kills the engine's process, one
that holds `slow` is answered when whoever asked has left. The app answers `/v1/chat/completions` with the last message,
and `/metrics`.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, PlainTextResponse

if "STAND_IN_IMPORT_S" in os.environ and multiprocessing.parent_process() is None:
    Path("importing").touch()
    time.sleep(float(os.environ["STAND_IN_IMPORT_S"]))


def core(pipe, dies):
    """The engine's own process."""
    sys.stderr.write(f"Starting to load model tiny for {os.environ.get('HF_TOKEN', 'nobody')[:7]}...\n")
    sys.stderr.flush()
    if dies == "out of memory":
        raise RuntimeError("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
    if dies == "never":
        time.sleep(600)
    pipe.send("ready")
    while pipe.recv() != "die now":
        pipe.send("answered")
    os.kill(os.getpid(), signal.SIGKILL)


class AsyncLLM:
    model_config = types.SimpleNamespace(served_model_name="tiny")

    def __init__(self):
        self._pipe, theirs = multiprocessing.Pipe()
        self._lock = threading.Lock()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=core, args=(theirs, os.environ.get("STAND_IN_DIES")), name="EngineCore")
        self.process.start()
        theirs.close()
        with Path(os.environ["STAND_IN_PIDS"]).open("a") as pids:
            pids.write(f"{self.process.pid}\n")
        try:
            self._pipe.recv()
        except EOFError:
            raise RuntimeError("Engine core initialization failed. See root cause above.") from None

    @classmethod
    def from_engine_args(cls, arguments, usage_context):
        assert usage_context == "server"
        return cls()

    @property
    def errored(self):
        return not self.process.is_alive()

    def generate(self, text):
        with self._lock:
            self._pipe.send("die now" if "die now" in text and not Path("died").exists() else text)
            return self._pipe.recv()

    async def reset_mm_cache(self):
        pass

    async def get_supported_tasks(self):
        return ("generate",)

    def shutdown(self):
        self.process.terminate()
        self.process.join()


def build_app(args, tasks, model_config):
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def chat(body: dict, request: Request):
        text = json.dumps(body["messages"][-1]["content"])
        if "slow" in text:  # as vLLM, which stops writing when whoever asked is gone
            while (await request.receive())["type"] != "http.disconnect":
                pass
            Path("aborted").touch()
        try:
            await asyncio.to_thread(app.state.engine.generate, text)
        except (EOFError, OSError):
            Path("died").touch()
            message = "EngineCore encountered an issue."
            return JSONResponse({"error": {"message": message, "type": "InternalServerError", "code": 500}}, 500)
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "x", "created": 1, "model": args.served_model_name, "choices": [choice], "usage": usage}

    @app.get("/metrics")
    async def metrics(request: Request):
        return PlainTextResponse('vllm:num_requests_running{e="0"} 3.0\nvllm:num_requests_waiting{e="0"} 0.0\n')

    return app


async def init_app_state(engine, state, args, tasks):
    state.engine = engine


def make_arg_parser(parser):
    for flag in ("model", "served-model-name", "max-model-len", "tensor-parallel-size", "tool-call-parser"):
        parser.add_argument(f"--{flag}")
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument("--enable-auto-tool-choice", action="store_true")
    return parser


def _module(name, **names):
    parents = [name[:end] for end, letter in enumerate(name) if letter == "."]
    for each in (*parents, name):
        sys.modules.setdefault(each, types.ModuleType(each)).__path__ = []
    sys.modules[name].__dict__.update(names)


class _Arguments:
    from_cli_args = staticmethod(lambda args: args)


_module("vllm.engine.arg_utils", AsyncEngineArgs=_Arguments)
_module("vllm.usage.usage_lib", UsageContext=types.SimpleNamespace(OPENAI_API_SERVER="server"))
_module("vllm.v1.engine.async_llm", AsyncLLM=AsyncLLM)
_module("vllm.entrypoints.launchers.api_server.app_state", init_app_state=init_app_state)
_module("vllm.entrypoints.launchers.app", build_app=build_app)
_module(
    "vllm.entrypoints.launchers.cli_args",
    make_arg_parser=make_arg_parser,
    validate_parsed_serve_args=lambda args: None,
)
_module("vllm.utils.argparse_utils", FlexibleArgumentParser=argparse.ArgumentParser)
_module("vllm.reasoning", ReasoningParserManager=None)
_module("vllm.tool_parsers", ToolParserManager=None)
