"""A program that looks like `vllm`: knows flags, prints what vLLM prints, answers, and dies when it is told to.

`STAND_IN_DIES` in its environment says how it dies while it loads: `out of memory`, or `never` without getting ready;
with `never asked`, not even its help is to be had. A request whose text holds `die now` kills it with SIGKILL. Once one
held `hang unseen` or `hang now`, none is answered any more, only `/health` and `/metrics`; with `hang now`, `/metrics`
shows that request. Its child stands for the engine's own processes.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FLAGS = (
    *("host", "port", "served-model-name", "tensor-parallel-size", "gpu-memory-utilization", "max-model-len"),
    *("enable-auto-tool-choice", "tool-call-parser", "enforce-eager", "no-enforce-eager", "max-num-seqs"),
    *("max-num-batched-tokens", "dtype", "enable-prefix-caching", "no-enable-prefix-caching"),
    *("enable-chunked-prefill", "no-enable-chunked-prefill", "trust-remote-code"),
)

PAGE = """vllm:num_requests_running{{engine="0"}} {running}.0
vllm:num_requests_waiting{{engine="0"}} 0.0
vllm:generation_tokens_total{{engine="0"}} {tokens}.0
"""
figures = {"running": 0, "tokens": 0}
hung = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._reply(PAGE.format(**figures) if self.path == "/metrics" else {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with Path(os.environ["STAND_IN_FOLDER"], "requests").open("a") as log:
            log.write(f"{value('port')}\n")
        if "die now" in json.dumps(body):
            os.kill(os.getpid(), signal.SIGKILL)
        if any(word in json.dumps(body) for word in ("hang now", "hang unseen")):
            figures["running"] += "hang now" in json.dumps(body)
            hung.set()
        if hung.is_set():
            time.sleep(600)
        figures["tokens"] += 1
        message = {"role": "assistant", "content": os.environ.get("CUDA_VISIBLE_DEVICES", "no GPU")}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._reply({"id": "x", "created": 1, "model": "tiny", "choices": [choice], "usage": usage})

    def _reply(self, body):
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def value(name):
    return sys.argv[sys.argv.index(f"--{name}") + 1]


def say(line):
    print(line, flush=True)


def die_as_told():
    how = os.environ.get("STAND_IN_DIES")
    if how == "out of memory":
        say("(EngineCore pid=7) ERROR torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.")
        for number in range(30):
            say(f"(APIServer pid=6)   File {number}")
        say("(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above.")
        sys.exit(1)
    if how in {"never", "never asked"}:
        time.sleep(600)


def main():
    if "--help=all" in sys.argv:
        if os.environ.get("STAND_IN_DIES") == "never asked":
            time.sleep(600)
        print("usage: vllm serve", *(f"  --{flag} X" for flag in FLAGS), sep="\n")
        return
    folder = Path(os.environ["STAND_IN_FOLDER"])
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with (folder / "pids").open("a") as pids:
        pids.write(f"{os.getpid()} {child.pid}\n")
    (folder / f"arguments_{value('port')}").write_text(json.dumps(sys.argv[1:]))
    say("INFO Starting to load model")
    time.sleep(0.1)
    die_as_told()
    say("INFO Dynamo bytecode transform time: 1.0 s")
    ThreadingHTTPServer.request_queue_size = 128  # as many may connect at once, none of whom waits for a second
    server = ThreadingHTTPServer((value("host"), int(value("port"))), Handler)
    say("INFO Application startup complete.")
    server.serve_forever()


if __name__ == "__main__":
    main()
