"""Gives every server a host and a port that is free."""

import random
import socket
from collections.abc import Collection

from nemo_gym_lite.errors import ConfigError

LOCAL_HOST = "127.0.0.1"
PORT_RANGE = (10_001, 20_000)
TRIES = 50


def free_port(host: str, taken: Collection[int], low: int, high: int) -> int:
    """Return a random port in [low, high] on which `host` can listen now.

    Raises:
        ConfigError: No free port was found.
    """
    for _ in range(TRIES):
        port = random.randint(low, high)
        if port not in taken and can_listen(host, port, reuse=False):
            return port
    raise ConfigError(
        f"no free port on {host} between {low} and {high} in {TRIES} tries",
        "widen `+port_range_low=` and `+port_range_high=`, or write `port:` if the host is another machine",
    )


def can_listen(host: str, port: int, *, reuse: bool = True) -> bool:
    """Whether a server could bind to this address now; without `reuse`, not if another will listen there soon.

    An engine binds to its port when it starts and listens minutes later, when its model is loaded.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def machine_ip() -> str:
    """Return the address under which other machines reach this one, or 127.0.0.1 if it has no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a UDP connect sends nothing, it only picks the outgoing address
        except OSError:
            return LOCAL_HOST
        return str(probe.getsockname()[0])
