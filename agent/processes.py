"""The model server's processes, by proc(5): who listens on its port, and what that has started.

An agent in a container of its own sees them only where the pod shares its process namespace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_LISTEN = "0A"  # TCP_LISTEN in the kernel's tables
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcesses:
    """The process that listens on the server's port, and all that descend from it.

    Parameters
    ----------
    pids
        At least one.
    resident_bytes
        Sum of their resident memory; pages that they share count for each of them.
    """

    pids: frozenset[int]
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    started: int
    resident_pages: int


class ProcessView:
    """Finds the server's processes on this machine.

    Parameters
    ----------
    server_url
        The server's address; one that is not this host's own is never looked for.
    proc
        Where the kernel's view is mounted.
    """

    def __init__(self, server_url: str, proc: Path = Path("/proc")) -> None:
        self._port = local_port(server_url)
        self._proc = proc
        # Looking through everybody's open files is dear, so who listens is kept as long as it lives.
        self._listeners: frozenset[tuple[int, int]] = frozenset()

    def server(self) -> ServerProcesses | None:
        """Return the server's processes; None where the agent does not see them."""
        if self._port is None:
            return None
        table = dict(self._table())
        living = {(pid, process.started) for pid, process in table.items()}
        if not self._listeners or not self._listeners <= living:
            self._listeners = frozenset((pid, table[pid].started) for pid in self._holders(self._port, table))
        pids = _with_descendants({pid for pid, _ in self._listeners}, table)
        if not pids:
            return None
        pages = sum(table[pid].resident_pages for pid in pids)
        return ServerProcesses(pids=pids, resident_bytes=pages * _PAGE_BYTES)

    def _table(self) -> Iterator[tuple[int, _Process]]:
        for entry in _entries(self._proc):
            if not entry.name.isdecimal():
                continue
            try:
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # ended meanwhile, or hidden
            # The name, field 2, is in brackets and may hold anything; parent, start and pages are 4, 22, 24.
            fields = text.rpartition(")")[2].split()
            yield int(entry.name), _Process(int(fields[1]), int(fields[19]), int(fields[21]))

    def _holders(self, port: int, table: dict[int, _Process]) -> Iterator[int]:
        sockets = {f"socket:[{inode}]" for inode in self._listening(port)}
        for pid in table if sockets else ():
            if any(_target(link) in sockets for link in _entries(self._proc / str(pid) / "fd")):
                yield pid

    def _listening(self, port: int) -> Iterator[str]:
        """Yield the inodes of the sockets that listen on a port of any address."""
        for table in ("tcp", "tcp6"):
            try:
                lines = (self._proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]
            except OSError:
                continue  # IPv6 is switched off
            for fields in map(str.split, lines):
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def local_port(url: str) -> int | None:
    """Return the port of an address of this host; None for another host's."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host not in ("localhost", "::1") and not host.startswith("127."):
        return None
    return parts.port or (443 if parts.scheme == "https" else 80)


def _with_descendants(roots: set[int], table: dict[int, _Process]) -> frozenset[int]:
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return frozenset(found)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []  # gone, or somebody else's


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except OSError:
        return None
