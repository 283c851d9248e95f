"""Which kind of server answers: asked, not assumed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from agent.errors import PinError, RefusedError
from agent.layouts.port import Arrangement, Asked, Layout
from agent.layouts.triton import TritonLayout
from agent.servers.grpc_control import GrpcControl
from agent.servers.http import Http
from agent.servers.kserve import KServePython
from agent.servers.mlserver import MlServer
from agent.servers.port import Control, IndexRow, ModelServer, ServerInfo, ServerKind
from agent.servers.triton import Triton

log = logging.getLogger(__name__)

KIND_OF_RUNTIME: Mapping[str, ServerKind] = {
    "triton": "triton",
    "mlserver": "mlserver",
    "kserve-python": "kserve",
    "lightgbm": "kserve",
    "sklearn": "kserve",
    "xgboost": "kserve",
}
"""The kind of server that a placement document's ``runtime`` names."""


class AnyServer:
    """A server of a kind that it tells itself, asked anew whenever it may be another one.

    Parameters
    ----------
    http
        Its HTTP port.
    grpc
        Its gRPC port, used if it is Triton.
    kind
        Which it is; None asks.
    runtime
        What the documents call it: taken as long as the server has not been asked.
    shows_gpus
        Whether Triton's python models are shown their own GPUs alone.
    """

    def __init__(
        self,
        http: Http,
        *,
        grpc: GrpcControl | None = None,
        kind: ServerKind | None = None,
        runtime: Callable[[], str | None] = lambda: None,
        shows_gpus: bool = False,
    ) -> None:
        self._triton_layout = TritonLayout(shows_gpus=shows_gpus)
        self._http = http
        self._given = kind
        self._found: ServerKind | None = kind
        self._runtime = runtime
        self._servers: dict[ServerKind, ModelServer] = {
            "triton": Triton(http, grpc=grpc, layout=self._triton_layout),
            "mlserver": MlServer(http),
            "kserve": KServePython(http),
        }

    @property
    def layout(self) -> Layout:
        """What the server needs in a model's folder."""
        kind = self._found or KIND_OF_RUNTIME.get(self._runtime() or "")
        return self._lay_out_unknown if kind is None else self._servers[kind].layout

    @property
    def most_calls(self) -> int | None:
        """Loads and unloads that it carries out at a time."""
        return self._server.most_calls

    @property
    def control(self) -> Control:
        """How loads and unloads are sent now."""
        return self._server.control

    def info(self) -> ServerInfo:
        """Return kind and version, having asked which kind it is."""
        if self._given is None:
            kind = probe_kind(self._http)
            if kind != self._found:
                log.info("the server tells its kind", extra={"kind": kind})
            self._found = kind
        return self._server.info()

    def index(self) -> Mapping[str, IndexRow]:
        """Return the models, see `agent.servers.port.ModelServer`."""
        return self._server.index()

    def load(self, name: str) -> None:
        """Load a model."""
        self._server.load(name)

    def unload(self, name: str) -> None:
        """Unload a model."""
        self._server.unload(name)

    def find_fault(self, name: str, *, infer: bool, given: bytes | None) -> str | None:
        """Return what is wrong with a loaded model; None where nothing is, or it cannot be told."""
        return self._server.find_fault(name, infer=infer, given=given)

    def rest(self) -> None:
        """Close idle connections."""
        self._http.rest()

    @property
    def _server(self) -> ModelServer:
        return self._servers[self._found or KIND_OF_RUNTIME.get(self._runtime() or "", "triton")]

    def _lay_out_unknown(self, asked: Asked) -> Arrangement:
        """Lay out for Triton what it could load, and leave the rest until the server is known."""
        try:
            return self._triton_layout(asked)
        except PinError as error:
            if error.reason != "NoConfig":
                raise
            return Arrangement()


def probe_kind(http: Http) -> ServerKind:
    """Return which kind of server answers.

    Triton names its extensions, ``model_repository`` among them. MLServer names none and has an index;
    KServe's Python servers have no index. Raises as `agent.servers.http.Http.get`.
    """
    document = http.get("/v2")
    extensions = document.get("extensions") if isinstance(document, dict) else None
    if isinstance(extensions, list) and "model_repository" in extensions:
        return "triton"
    answer = http.ask("POST", "/v2/repository/index", read_s=http.timeouts.control_s, body=b"{}")
    if answer.status in (404, 405):
        return "kserve"
    if answer.status != 200:
        raise RefusedError(answer.status, "the server does not tell which kind it is; see --server-kind")
    named = document.get("name") if isinstance(document, dict) else None
    return "mlserver" if named == "mlserver" else "triton"
