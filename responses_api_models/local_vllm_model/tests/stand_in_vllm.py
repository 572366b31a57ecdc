"""A program that looks like `vllm`: knows flags, prints what vLLM prints, answers, and dies when it is told to.

`STAND_IN_DIES` in its environment says how it dies while it loads: `out of memory`, or `never` without getting ready.
A request whose text holds `die now` kills it with SIGKILL. Its child stands for the engine's own processes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FLAGS = (
    *("host", "port", "served-model-name", "tensor-parallel-size", "gpu-memory-utilization", "max-model-len"),
    *("enable-auto-tool-choice", "tool-call-parser", "enforce-eager", "max-num-seqs"),
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._reply({})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with Path(os.environ["STAND_IN_FOLDER"], "requests").open("a") as log:
            log.write(f"{value('port')}\n")
        if "die now" in json.dumps(body):
            os.kill(os.getpid(), signal.SIGKILL)
        message = {"role": "assistant", "content": os.environ.get("CUDA_VISIBLE_DEVICES", "no GPU")}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._reply({"id": "x", "created": 1, "model": body["model"], "choices": [choice], "usage": usage})

    def _reply(self, body):
        raw = json.dumps(body).encode()
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
    if how == "never":
        time.sleep(600)


def main():
    if "--help=all" in sys.argv:
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
    server = ThreadingHTTPServer((value("host"), int(value("port"))), Handler)
    say("INFO Application startup complete.")
    server.serve_forever()


if __name__ == "__main__":
    main()
