"""The processes of checks: a template that loads an environment once, and its copies, each scoring row after row.

`python -P -m nemo_gym_lite.serving.check_host FD NAME` reads from the socket FD what to load, and then gets a socket
for each copy to make. When FD ends, which it does when the process that asks ends in whatever way, all copies are
killed. Should the template itself be killed, the kernel kills the copies.
"""

import asyncio
import ctypes
import errno
import gc
import logging
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

import orjson
from starlette.requests import Request
from starlette.responses import Response

from nemo_gym_lite.base_resources_server import SimpleResourcesServer
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.servers import ServerInstance, load_server_class, server_instances
from nemo_gym_lite.serving.check_processes import ANSWERED, ASKED, HELLO, ORDER, OUT_OF_MEMORY
from nemo_gym_lite.serving.host import reason
from nemo_gym_lite.serving.near_resources import NearResources

_SET_PARENT_DEATH_SIGNAL = 1


def main() -> int:
    """Load the environment and fork checkers until the socket ends; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _on_parents_death(signal.SIGTERM)  # while loading, when nobody reads the socket
    os.dup2(2, 1)  # what an environment prints is no output of the command
    control = socket.socket(fileno=int(sys.argv[1]))
    (length,) = ORDER.unpack(_exactly(control, ORDER.size) or ORDER.pack(0))
    order = orjson.loads(_exactly(control, length) or b"{}")
    if not order:
        return 1
    instance = next(each for each in server_instances(order["tree"]) if each.name == order["name"])
    try:
        environment = _environment(order["tree"], instance)
    except Exception as error:  # an author's code raises anything; the one who asks tells it in one line
        message, hint = reason(error, instance.entrypoint.parent)
        _report(control, {"error": message, "hint": hint})
        return 1
    _on_parents_death(0)
    gc.collect()
    gc.freeze()  # or every collection of a checker would copy the pages that it shares
    Forks(control, environment, order["path"], order["memory_bytes"]).serve()
    return 0


def _environment(tree: Json, instance: ServerInstance) -> NearResources:
    block = tree[instance.name][instance.server_type][instance.implementation]
    block |= {"verify_pool": None, "expose_tools_over_mcp": False}  # both are the server's that asks
    server: SimpleResourcesServer = load_server_class(instance).from_tree(tree, instance.name)
    environment = NearResources(server)
    environment.app.add_exception_handler(MemoryError, _out_of_memory)
    environment.app.add_exception_handler(OSError, _maybe_out_of_memory)
    return environment


async def _out_of_memory(request: Request, error: Exception) -> Response:
    return Response(status_code=OUT_OF_MEMORY)


async def _maybe_out_of_memory(request: Request, error: Exception) -> Response:
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return Response(status_code=OUT_OF_MEMORY)
    raise error


class Forks:
    """The template at work.

    Args:
        control: Brings a socket for every checker to make; the word on how each ended goes back.
        environment: What checkers check with.
        path: Its route that checks.
        memory_bytes: Address space that a checker may use beyond what it starts with.
    """

    def __init__(self, control: socket.socket, environment: NearResources, path: str, memory_bytes: int) -> None:
        self._control = control
        self._environment = environment
        self._path = path
        self._memory_bytes = memory_bytes
        self._pids: set[int] = set()
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)

    def serve(self) -> None:
        """Fork, and tell how checkers ended, until the control socket ends."""
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        _report(self._control, {"ready": True})
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._woken in ready:
                    self._woken.recv(4096)
                    self._reap()
                if self._control in ready and not self._fork():
                    break
        signal.set_wakeup_fd(-1)
        for pid in self._pids:
            _kill_group(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _fork(self) -> bool:
        """Make one checker; returns False at the end of the control socket."""
        try:
            order, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        except ConnectionResetError:  # the other end went without having read everything
            return False
        if not order:
            return False
        with socket.socket(fileno=descriptors[0]) as sock, suppress(OSError):  # no process: the socket's end says so
            parent = os.getpid()
            if (pid := os.fork()) == 0:
                self._become_checker(sock, parent)
            self._pids.add(pid)
        return True

    def _become_checker(self, sock: socket.socket, parent: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for inherited in (self._control, self._woken, self._waker):
                inherited.close()
            os.setpgid(0, 0)  # so that what a check starts ends with it
            _on_parents_death(signal.SIGKILL)
            memory = Memory(self._memory_bytes)
            if os.getppid() == parent:
                sock.sendall(HELLO.pack(os.getpid()))
                asyncio.run(_check_rows(sock, self._environment, self._path, memory))
                code = 0
        except BaseException:  # nothing may lead back into the template's loop
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                _kill_group(pid)  # what the check started and left behind
                self._pids.discard(pid)
                _report(self._control, {"pid": pid, "code": os.waitstatus_to_exitcode(status)})


class Memory:
    """This process's address space, limited from here on.

    A check that finds no more fails, so a process that earlier checks left large ends before it gets there.

    Args:
        more_bytes: What there may be beyond what there is now.
    """

    def __init__(self, more_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would take longer than many checks
        self._statm = os.open("/proc/self/statm", os.O_RDONLY) if sys.platform == "linux" else None
        self._page_bytes = resource.getpagesize()
        self._enough_bytes = self._bytes() + more_bytes // 2
        if self._statm is not None:
            limit = self._bytes() + more_bytes
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def is_used_up(self) -> bool:
        """Whether more than half of it is taken while no check runs."""
        return self._bytes() > self._enough_bytes

    def _bytes(self) -> int:
        return 0 if self._statm is None else int(os.pread(self._statm, 32, 0).split()[0]) * self._page_bytes


async def _check_rows(sock: socket.socket, environment: NearResources, path: str, memory: Memory) -> None:
    """Score rows one after another; waiting for the next holds nothing up, as there is nothing else here."""
    while header := _exactly(sock, ASKED.size):
        length, delta = ASKED.unpack(header)
        row = _exactly(sock, length)
        await asyncio.sleep(0)  # connections to a judge may have ended meanwhile
        try:
            status, body = await environment.call(path, row, {}, None, delta=delta)
        except MemoryError:  # outside the environment's own code
            status, body = OUT_OF_MEMORY, b""
        sock.sendall(ANSWERED.pack(len(body), status, memory.is_used_up()) + body)


def _exactly(sock: socket.socket, count: int) -> bytes:
    """The next `count` bytes; empty at the end."""
    data = bytearray()
    while len(data) < count:
        if not (part := sock.recv(min(count - len(data), 2**20))):
            return b""
        data += part
    return bytes(data)


def _report(control: socket.socket, report: Json) -> None:
    with suppress(BrokenPipeError):  # nobody asks any more: the socket's end says so next
        control.sendall(orjson.dumps(report) + b"\n")


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _on_parents_death(signum: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signum)


if __name__ == "__main__":
    sys.exit(main())
