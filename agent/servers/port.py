"""What the agent needs of a model server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

ServerState = Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]


@dataclass(frozen=True, slots=True)
class IndexRow:
    """What a server says of a model, over all its versions; ``reason`` is the server's text, often empty."""

    state: ServerState
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Kind and version as the server tells them."""

    kind: str
    version: str


class ModelServer(Protocol):
    """A server that loads and unloads models on request.

    Every method raises `agent.errors.UnreachableError` when no answer came, `agent.errors.RefusedError` when
    the answer was an error. Methods may be called from several threads.
    """

    def info(self) -> ServerInfo:
        """Return kind and version."""
        ...

    def index(self) -> Mapping[str, IndexRow]:
        """Return every model that was ever touched; one that is missing was never loaded.

        Where nothing has changed since the last call the same object may come again.
        """
        ...

    def load(self, name: str) -> None:
        """Load a model, or load it anew where its files changed; returns when it serves."""
        ...

    def unload(self, name: str) -> None:
        """Ask for an unload; it has happened when the index says so."""
        ...

    def rest(self) -> None:
        """Close idle connections: nothing will be asked for a while."""
        ...
