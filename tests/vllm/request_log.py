"""An ASGI middleware for `vllm serve --middleware`: notes which session each request belongs to, as it arrives."""

import os
from pathlib import Path


class RequestLog:
    """Appends a line `SESSION PATH` for each POST to the file that VLLM_REQUEST_LOG names."""

    def __init__(self, app):
        self.app = app
        self.path = Path(os.environ["VLLM_REQUEST_LOG"])

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["method"] == "POST":
            session = dict(scope["headers"]).get(b"x-session-id", b"-").decode()
            with self.path.open("a") as file:
                file.write(f"{session} {scope['path']}\n")
        await self.app(scope, receive, send)
