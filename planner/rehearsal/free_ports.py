"""Ports of this host that a server may be given."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

HOST = "127.0.0.1"

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 10_000


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens on at the moment.

    They lie below those that the kernel gives to outgoing connections (ip(7)): it may give out any of them
    before the server listens, and a connection to such a port could even meet itself there, as if a server
    answered.
    """
    below = int(_EPHEMERAL.read_text().split()[0])
    candidates = list(range(_FIRST, below) or range(_FIRST, 2**16))
    random.SystemRandom().shuffle(candidates)
    with contextlib.ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind((HOST, candidates.pop()))
                found.append(one.getsockname()[1])
    return found


def free_port() -> int:
    """Return one of them."""
    return free_ports(1)[0]
