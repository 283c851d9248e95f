"""MLServer's model repository endpoints.

https://mlserver.readthedocs.io/en/stable/user-guide/content-type.html describes the server; its index lists
what has a ``model-settings.json``, loaded or not.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.errors import RefusedError
from agent.layouts.mlserver import lay_out
from agent.layouts.port import Layout
from agent.servers.http import LONGEST_INDEX, Http, parsed
from agent.servers.inference import find_fault
from agent.servers.port import HTTP, Control, IndexRow, ServerInfo, ServerState
from agent.servers.python_server import PythonControl
from agent.servers.triton import text_of

# UNKNOWN is a model that is registered and not ready: one that loads, since a load that fails removes it.
# UNAVAILABLE says only that there are files, also of a model that was never loaded: such a row is left out,
# so that models vanish from the index with the process that held them.
_STATES: Mapping[str, ServerState] = {"READY": "READY", "UNKNOWN": "LOADING"}


class MlServer:
    """An MLServer, started over the agent's model directory.

    Parameters
    ----------
    http
        Its HTTP port.
    """

    def __init__(self, http: Http) -> None:
        self._http = http
        self._control = PythonControl(http)

    @property
    def layout(self) -> Layout:
        """A model-settings.json."""
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
        return ServerInfo(kind="mlserver", version=text_of(document, "version"))

    def index(self) -> Mapping[str, IndexRow]:
        """Return the models that are loaded or loading."""
        with self._control.busy:
            body = self._http.call(
                "POST",
                "/v2/repository/index",
                read_s=self._http.timeouts.control_s,
                body=b"{}",
                most_bytes=LONGEST_INDEX,
            )
        document = parsed(body)
        if not isinstance(document, list):
            raise RefusedError(200, "the repository index is not a list")
        named = ((text_of(entry, "name"), _STATES.get(text_of(entry, "state"))) for entry in document)
        return {name: IndexRow(state) for name, state in named if name and state is not None}

    def load(self, name: str) -> None:
        """Load a model; a loaded one is built anew beside the old one."""
        self._control.load(name, body=b"{}")

    def unload(self, name: str) -> None:
        """Unload a model; returns when it has happened."""
        self._control.unload(name, body=b"{}")

    def find_fault(self, name: str, *, infer: bool, given: bytes | None) -> str | None:
        """Return what is wrong with a loaded model; None where nothing is, or it cannot be told."""
        with self._control.busy:
            return find_fault(self._http, name, infer=infer, given=given, binary=False)

    def rest(self) -> None:
        """Close idle connections."""
        self._http.rest()
