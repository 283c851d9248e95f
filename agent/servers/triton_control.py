"""How Triton's loads and unloads are sent: over gRPC where its port answers, over HTTP otherwise."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

from agent.errors import BrokenConnectionError, NoConnectionError, RefusedError, UnreachableError
from agent.servers.grpc_control import GrpcControl
from agent.servers.http import Http
from agent.servers.port import HTTP, Control

log = logging.getLogger(__name__)

_AGAIN_S = 30.0
"""A closed gRPC port is tried again after so long; only somebody who changes the server opens it."""


class TritonControl:
    """Sends loads and unloads.

    Parameters
    ----------
    http
        The server's HTTP port.
    grpc
        Its gRPC port; None sends everything over HTTP.
    seconds
        A clock that only runs forward.
    """

    def __init__(
        self, http: Http, *, grpc: GrpcControl | None, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._grpc = grpc
        self._seconds = seconds
        self._lock = threading.Lock()
        self._fault: str | None = None
        self._again_at_s = 0.0

    @property
    def control(self) -> Control:
        """How they are sent now."""
        if self._grpc is None:
            return HTTP
        return Control(transport="http" if self._fault else "grpc", fault=self._fault)

    def send(self, verb: Literal["load", "unload"], name: str, *, timeout_s: float) -> None:
        """Have a model loaded or unloaded; raises as `agent.servers.port.ModelServer`."""
        if not self._sent_over_grpc(verb, name, timeout_s):
            # Without a body it is one packet, for which the server wakes once.
            self._http.call("POST", f"/v2/repository/models/{name}/{verb}", read_s=timeout_s)

    def look(self, *, anew: bool = False) -> None:
        """Find out whether the gRPC port answers, where it did not or, ``anew``, whatever is known of it.

        Called when the server has just answered over HTTP.
        """
        if self._grpc is None or not (anew or (self._fault is not None and self._is_due())):
            return
        try:
            self._grpc.live(timeout_s=self._http.timeouts.connect_s)
        except UnreachableError as error:
            self._note(str(error))
        except RefusedError:
            self._note(None)  # a restricted endpoint, but somebody answers
        else:
            self._note(None)

    def _sent_over_grpc(self, verb: Literal["load", "unload"], name: str, timeout_s: float) -> bool:
        """Return whether a call was answered over gRPC; False where the port is closed, the server there."""
        if self._grpc is None or (self._fault is not None and not self._is_due()):
            return False
        send = self._grpc.load if verb == "load" else self._grpc.unload
        try:
            send(name, timeout_s=timeout_s)
        except NoConnectionError as error:
            # Where the whole server is gone this raises, and nothing is learnt about its ports.
            self._ask_whether_live(error)
            self.look(anew=True)
            if self._fault is not None:
                return False
            send(name, timeout_s=timeout_s)  # the connection was that to the server's last process
        return True

    def _ask_whether_live(self, met: NoConnectionError) -> None:
        try:
            self._http.ask("GET", "/v2/health/live", read_s=self._http.timeouts.control_s)
        except UnreachableError:
            if isinstance(met, BrokenConnectionError):
                raise met from None  # that the call was under way is more than that now nobody is there
            raise

    def _is_due(self) -> bool:
        return self._seconds() >= self._again_at_s

    def _note(self, fault: str | None) -> None:
        with self._lock:
            before, self._fault = self._fault, fault
            self._again_at_s = self._seconds() + _AGAIN_S
        if fault is not None and before is None:
            log.warning(
                "the server's gRPC port does not answer: loads and unloads go over HTTP until it does",
                extra={"error": fault},
            )
        if fault is None and before is not None:
            log.info("the server's gRPC port answers: loads and unloads go over gRPC again")
