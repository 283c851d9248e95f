"""What the agent needs of a model server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.layouts.port import Layout

ServerKind = Literal["triton", "mlserver", "kserve"]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How loads and unloads are sent.

    Parameters
    ----------
    transport
        Over what.
    fault
        Why it is not what the settings name; None when it is.
    """

    transport: Literal["http", "grpc"]
    fault: str | None = None


HTTP = Control(transport="http")


class ModelServer(Protocol):
    """A server that loads and unloads models on request.

    Every method raises `agent.errors.UnreachableError` when no answer came, `agent.errors.RefusedError` when
    the answer was an error. Methods may be called from several threads.
    """

    @property
    def layout(self) -> Layout:
        """What the server needs in a model's folder."""
        ...

    @property
    def most_calls(self) -> int | None:
        """Loads and unloads that it carries out at a time; None where that is for the settings to say."""
        ...

    @property
    def control(self) -> Control:
        """How loads and unloads are sent now."""
        ...

    def info(self) -> ServerInfo:
        """Return kind and version."""
        ...

    def index(self) -> Mapping[str, IndexRow]:
        """Return every model that the server holds, or that it failed to load or has unloaded.

        A model that was READY and is missing although its folder is there was held by another process.
        Where nothing has changed since the last call the same object may come again.
        """
        ...

    def load(self, name: str) -> None:
        """Load a model, or load it anew where its files changed; returns when it serves."""
        ...

    def unload(self, name: str) -> None:
        """Ask for an unload; it has happened when the index says so. What is not loaded is no error."""
        ...

    def find_fault(self, name: str, *, infer: bool, given: bytes | None) -> str | None:
        """Return what is wrong with a loaded model, see `agent.servers.inference.find_fault`."""
        ...

    def rest(self) -> None:
        """Close idle connections: nothing will be asked for a while."""
        ...
