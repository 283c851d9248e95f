"""Names of shards to addresses: asked again and again, since a Service may come and go."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from agent.gateway.configuration import server_address
from agent.routes import Routes, split_address

log = logging.getLogger(__name__)

Resolve = Callable[[str, int], tuple[str, ...]]
"""(host, port) to addresses ``ip:port``, sorted; raises ``OSError`` where nobody can tell."""

# Names that certainly stand for nothing; any other error says that nobody could tell.
_GONE = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_THREADS = 16


def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses of a host by the system's resolver; none if it does not exist.

    Raises
    ------
    OSError
        Nobody could tell.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in _GONE:
            return ()
        raise
    return tuple(sorted({server_address(str(item[4][0]), port) for item in found}))


class AddressBook:
    """The addresses of all shards, as last told.

    Parameters
    ----------
    resolve
        Who tells.
    """

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._known: dict[str, tuple[str, ...]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="names")

    def addresses(self, routes: Routes) -> dict[str, tuple[str, ...]]:
        """Return the addresses of the shards and services that routes name.

        Where nobody can tell, the last answer stands: a name service that is down takes no shard away.
        """
        named = (*routes.shards, *routes.services)
        wanted = sorted({address for _, address in named})
        found = dict(zip(wanted, self._threads.map(self._ask, wanted), strict=True))
        self._known = found
        return {name: found[address] for name, address in named}

    def _ask(self, address: str) -> tuple[str, ...]:
        host, port = split_address(address)
        literal = _literal(host)
        if literal is not None:
            return (server_address(literal, port),)
        try:
            return self._resolve(host, port)
        except OSError as error:
            log.warning("a shard's name cannot be looked up", extra={"shard": host, "error": str(error)})
            return self._known.get(address, ())


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None


def missing(addresses: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Return the shards without an address, sorted."""
    return tuple(sorted(shard for shard, found in addresses if not found))
