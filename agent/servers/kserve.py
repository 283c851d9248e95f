"""KServe's Python model servers (SKLearn, XGBoost, LightGBM and own ones), which have no index.

https://github.com/kserve/kserve/blob/master/python/kserve/kserve/protocol/rest/v2_endpoints.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from agent.errors import RefusedError
from agent.layouts.kserve import lay_out
from agent.layouts.port import Layout
from agent.servers.http import LONGEST_INDEX, Http
from agent.servers.inference import find_fault
from agent.servers.port import HTTP, Control, IndexRow, ServerInfo
from agent.servers.python_server import PythonControl
from agent.servers.triton import text_of

_ASKED_AGAIN = 32
"""Models whose ready endpoint is asked again at each look, in turn: one call each on the server's loop."""


class KServePython:
    """A KServe Python server, multi-model.

    Parameters
    ----------
    http
        Its HTTP port.
    """

    def __init__(self, http: Http) -> None:
        self._http = http
        self._control = PythonControl(http)
        self._ready: dict[str, bool] = {}  # in the order in which they were asked, the longest ago first

    @property
    def layout(self) -> Layout:
        """The files without a version folder."""
        return lay_out

    @property
    def most_calls(self) -> int | None:
        """One: a load blocks its event loop."""
        return 1

    @property
    def control(self) -> Control:
        """HTTP: its gRPC has no loads."""
        return HTTP

    def info(self) -> ServerInfo:
        """Return kind and version from the server's metadata."""
        with self._control.busy:
            document = self._http.get("/v2")
        return ServerInfo(kind="kserve", version=text_of(document, "version"))

    def index(self) -> Mapping[str, IndexRow]:
        """Return the models that are registered; those that are not ready as UNAVAILABLE."""
        with self._control.busy:
            document = self._http.get("/v2/models", most_bytes=LONGEST_INDEX)
            listed = document.get("models") if isinstance(document, dict) else None
            if not isinstance(listed, list):
                raise RefusedError(200, "the list of models is not one")
            return self._rows({name for name in listed if isinstance(name, str)})

    def load(self, name: str) -> None:
        """Load a model; a loaded one is loaded anew."""
        self._control.load(name, body=_body(name, "load"))

    def unload(self, name: str) -> None:
        """Unload a model; returns when it has happened."""
        self._control.unload(name, body=_body(name, "unload"))

    def find_fault(self, name: str, *, infer: bool, given: bytes | None) -> str | None:
        """Return what is wrong with a loaded model; None where nothing is, or it cannot be told."""
        with self._control.busy:
            return find_fault(self._http, name, infer=infer, given=given, binary=False)

    def rest(self) -> None:
        """Close idle connections."""
        self._http.rest()

    def _rows(self, listed: Iterable[str]) -> dict[str, IndexRow]:
        """Ask those that are new or were not ready, and some of the others; the rest is as it was."""
        names = set(listed)
        known = {name: ready for name, ready in self._ready.items() if name in names}
        settled = [name for name, ready in known.items() if ready]
        for name in (*sorted(names - set(settled)), *settled[:_ASKED_AGAIN]):
            known.pop(name, None)
            known[name] = self._control.is_ready(name)
        self._ready = known
        return {name: IndexRow("READY" if ready else "UNAVAILABLE") for name, ready in known.items()}


def _body(name: str, verb: str) -> bytes:
    return json.dumps({"name": name, verb: True}).encode()
