"""How collector and worker talk: messages of a JSON head and raw bytes, over a pair of connected sockets.

    4 bytes: length of the head · 8 bytes: length of the rest · the head · the rest

Both sides put everything of one turn of their event loop into one message, so that a busy run pays for a system call
once for many rollouts. The bytes of rollouts are the rest, which nobody parses on the way to the file.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import cast

import orjson

from nemo_gym_lite.clients import Json

_LENGTHS = struct.Struct("<IQ")

Take = Callable[[Json, memoryview], None]
"""Gets each message: its head and the rest."""


class Wire(asyncio.Protocol):
    """One end of the connection.

    Args:
        take: Called with every message, in order.

    Attributes:
        lost: Done when the other end is gone and everything that it sent whole was taken.
    """

    def __init__(self, take: Take) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take = take
        self._unread = bytearray()
        self._transport: asyncio.Transport | None = None

    def send(self, head: Json, rest: Sequence[bytes] = ()) -> None:
        """Send a message; one that the other end does not live to read is lost."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        packed = orjson.dumps(head, option=orjson.OPT_NON_STR_KEYS)
        lengths = _LENGTHS.pack(len(packed), sum(map(len, rest)))
        transport.write(b"".join((lengths, packed, *rest)))

    def close(self) -> None:
        """Close this end at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came in."""
        unread = self._unread
        unread += data
        while len(unread) >= _LENGTHS.size:
            head_length, rest_length = _LENGTHS.unpack_from(unread)
            body = _LENGTHS.size + head_length
            end = body + rest_length
            if len(unread) < end:
                return
            message = memoryview(bytes(memoryview(unread)[_LENGTHS.size : end]))
            del unread[:end]
            self._take(orjson.loads(message[:head_length]), message[head_length:])

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the other end is gone."""
        if not self.lost.done():
            self.lost.set_result(None)


class Outbox:
    """Collects what is to be sent and calls `flush` once for all that one turn of the event loop brought.

    Args:
        flush: Sends it.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._due = False

    def mark(self) -> None:
        """There is something to send."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._due = False
        self._flush()
