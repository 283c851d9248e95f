"""Triton's model repository extension over HTTP, its loads and unloads over gRPC where that is offered.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.errors import RefusedError
from agent.layouts.port import Layout
from agent.layouts.triton import lay_out
from agent.servers.grpc_control import GrpcControl
from agent.servers.http import LONGEST_INDEX, LONGEST_MESSAGE, Http, parsed
from agent.servers.inference import find_fault
from agent.servers.port import Control, IndexRow, ServerInfo, ServerState
from agent.servers.triton_control import TritonControl

# Over several versions of one model the state that matters most wins: while one loads or serves, it is there.
_PRECEDENCE: tuple[ServerState, ...] = ("LOADING", "READY", "UNLOADING", "UNAVAILABLE")


class Triton:
    """A Triton server started with ``--model-control-mode=explicit``.

    Parameters
    ----------
    http
        Its HTTP port.
    grpc
        Its gRPC port, for loads and unloads; None sends them over HTTP.
    layout
        How models are laid out for it.
    """

    def __init__(self, http: Http, *, grpc: GrpcControl | None = None, layout: Layout = lay_out) -> None:
        self._http = http
        self._layout = layout
        self._control = TritonControl(http, grpc=grpc)
        self._known: tuple[bytes | None, Mapping[str, IndexRow]] = (None, {})

    @property
    def layout(self) -> Layout:
        """A config.pbtxt with the pin."""
        return self._layout

    @property
    def most_calls(self) -> int | None:
        """As many as the settings say: it has threads for loads."""
        return None

    @property
    def control(self) -> Control:
        """How loads and unloads are sent now."""
        return self._control.control

    def info(self) -> ServerInfo:
        """Return kind and version from the server's metadata."""
        document = self._http.get("/v2")
        self._control.look(anew=True)
        if not isinstance(document, dict):
            raise RefusedError(200, "the server's metadata is not an object")
        # Its `name` is whatever `--id` says, so it does not tell the kind.
        return ServerInfo(kind="triton", version=str(document.get("version", "")))

    def index(self) -> Mapping[str, IndexRow]:
        """Return the state of every model that was touched since the server started."""
        body = self._http.call(
            "POST",
            "/v2/repository/index",
            read_s=self._http.timeouts.control_s,
            body=b"{}",
            most_bytes=LONGEST_INDEX,
        )
        self._control.look()
        known, rows = self._known
        if body == known:
            return rows
        document = parsed(body)
        if not isinstance(document, list):
            raise RefusedError(200, "the repository index is not a list")
        rows = index_rows(document)
        self._known = body, rows
        return rows

    def load(self, name: str) -> None:
        """Load a model; a loaded and unchanged one is left alone by the server."""
        self._control.send("load", name, timeout_s=self._http.timeouts.load_s)

    def unload(self, name: str) -> None:
        """Ask for an unload; Triton answers at once and unloads afterwards."""
        self._control.send("unload", name, timeout_s=self._http.timeouts.unload_s)

    def find_fault(self, name: str, *, infer: bool, given: bytes | None) -> str | None:
        """Return what is wrong with a loaded model; None where nothing is, or it cannot be told.

        The ready endpoint says what the load's answer and the index say, so that alone it is not asked.
        """
        if not infer:
            return None
        return find_fault(self._http, name, infer=infer, given=given, binary=True)

    def rest(self) -> None:
        """Close idle connections: one that is kept open holds Triton's exit for its whole exit timeout."""
        self._http.rest()


def index_rows(document: list[Any]) -> dict[str, IndexRow]:
    """Return one row a model of an index that has one a version; a model without a state was never loaded."""
    rows: dict[str, IndexRow] = {}
    for entry in document:
        name, state, reason = (text_of(entry, key) for key in ("name", "state", "reason"))
        if not name or state not in _PRECEDENCE:
            continue
        known = rows.get(name)
        if known is None or _PRECEDENCE.index(state) < _PRECEDENCE.index(known.state):
            rows[name] = IndexRow(state, reason[:LONGEST_MESSAGE])
    return rows


def text_of(entry: object, key: str) -> str:
    """Return a text in a JSON object, empty where there is none."""
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else ""
