"""Triton's model repository extension over HTTP.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from agent.errors import RefusedError, UnreachableError
from agent.servers.port import IndexRow, ServerInfo, ServerState

# Over several versions of one model the state that matters most wins: while one loads or serves, it is there.
_PRECEDENCE: tuple[ServerState, ...] = ("LOADING", "READY", "UNLOADING", "UNAVAILABLE")
_LONGEST_MESSAGE = 2000
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long one call may take, in seconds.

    Parameters
    ----------
    connect_s, control_s
        To connect; index, metadata and unload, which answer at once.
    load_s
        A load answers when the model serves.
    """

    connect_s: float = 2.0
    control_s: float = 10.0
    load_s: float = 900.0


class Triton:
    """A Triton server started with ``--model-control-mode=explicit``.

    Parameters
    ----------
    url
        As ``http://127.0.0.1:8080``.
    connections
        Connections kept at most: calls that are in flight at the same time.
    timeouts
        Per kind of call.
    """

    def __init__(self, url: str, *, connections: int, timeouts: Timeouts) -> None:
        self._url = url.rstrip("/")
        self._control = urllib3.Timeout(connect=timeouts.connect_s, read=timeouts.control_s)
        self._load = urllib3.Timeout(connect=timeouts.connect_s, read=timeouts.load_s)
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False)
        self._known: tuple[bytes, Mapping[str, IndexRow]] = (b"", {})

    def info(self) -> ServerInfo:
        """Return kind and version from the server's metadata."""
        document = _parsed(self._call("GET", "/v2", timeout=self._control))
        if not isinstance(document, dict):
            raise RefusedError(200, "the server's metadata is not an object")
        # Its `name` is whatever `--id` says, so it does not tell the kind.
        return ServerInfo(kind="triton", version=str(document.get("version", "")))

    def index(self) -> Mapping[str, IndexRow]:
        """Return the state of every model that was touched since the server started."""
        body = self._call("POST", "/v2/repository/index", timeout=self._control, body=b"{}")
        known, rows = self._known
        if body == known:
            return rows
        document = _parsed(body)
        if not isinstance(document, list):
            raise RefusedError(200, "the repository index is not a list")
        rows = index_rows(document)
        self._known = body, rows
        return rows

    def load(self, name: str) -> None:
        """Load a model; a loaded and unchanged one is left alone by the server."""
        self._call("POST", f"/v2/repository/models/{name}/load", timeout=self._load, body=b"{}")

    def unload(self, name: str) -> None:
        """Ask for an unload; Triton answers at once and unloads afterwards."""
        self._call("POST", f"/v2/repository/models/{name}/unload", timeout=self._control, body=b"{}")

    def rest(self) -> None:
        """Close idle connections: one that is kept open holds Triton's exit for its whole exit timeout."""
        self._pool.clear()

    def _call(self, method: str, path: str, *, timeout: urllib3.Timeout, body: bytes | None = None) -> bytes:
        try:
            response = self._pool.request(
                method, self._url + path, body=body, headers=_JSON, timeout=timeout, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"{method} {path}: {error}") from error
        if response.status != 200:
            raise RefusedError(response.status, _error_text(response.data))
        return response.data


def index_rows(document: list[Any]) -> dict[str, IndexRow]:
    """Return one row a model of an index that has one a version; a model without a state was never loaded."""
    rows: dict[str, IndexRow] = {}
    for entry in document:
        name, state, reason = (_text_of(entry, key) for key in ("name", "state", "reason"))
        if not name or state not in _PRECEDENCE:
            continue
        known = rows.get(name)
        if known is None or _PRECEDENCE.index(state) < _PRECEDENCE.index(known.state):
            rows[name] = IndexRow(state, reason[:_LONGEST_MESSAGE])
    return rows


def _text_of(entry: object, key: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else ""


def _parsed(body: bytes) -> object:
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(200, f"the server's answer is not JSON: {error}") from error
    return document


def _error_text(body: bytes) -> str:
    """Return Triton's ``error`` field, or the body as it is."""
    text = body.decode(errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and isinstance(document.get("error"), str):
        text = document["error"]
    return text[:_LONGEST_MESSAGE].strip() or "no text"
