"""Which process listens on a port, as the kernel tells it (proc(5)): nobody else can be mistaken for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

_LISTEN = "0A"  # TCP_LISTEN in the kernel's tables
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def listens_on(pid: int, ports: Iterable[int]) -> bool:
    """Whether the process listens on each of these TCP ports."""
    own = set(_sockets_of(pid))
    return all(own.intersection(_listeners(port)) for port in ports)


def _sockets_of(pid: int) -> Iterator[str]:
    """Yield the inodes of a process's sockets; none if it is gone."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield target[len("socket:[") : -1]


def _listeners(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on a port of any address."""
    for table in _TABLES:
        if not table.exists():
            continue  # IPv6 is switched off
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == _LISTEN:
                yield fields[9]
