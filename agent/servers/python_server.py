"""What MLServer and KServe's Python servers share: one event loop, and loads that are never no-ops."""

from __future__ import annotations

import threading

from agent.errors import RefusedError, UnreachableError
from agent.servers.http import Http


class PythonControl:
    """Load and unload on a server whose event loop stands still meanwhile.

    A load blocks everything that the server would answer, so calls wait for it here, where the wait is not
    taken for a server that is gone. A loaded model that is loaded again is built a second time, so one whose
    load was sent and not answered is looked at before it is sent again.

    Parameters
    ----------
    http
        The server's port.
    """

    def __init__(self, http: Http) -> None:
        self.http = http
        self.busy = threading.Lock()
        self._unanswered: set[str] = set()

    def load(self, name: str, *, body: bytes) -> None:
        """Load a model, unless an earlier load has succeeded that was given up too early."""
        with self.busy:
            if name in self._unanswered and self.is_ready(name):
                self._unanswered.discard(name)
                return
            try:
                self._call(name, "load", body, self.http.timeouts.load_s)
            except UnreachableError:
                self._unanswered.add(name)
                raise
            self._unanswered.discard(name)

    def unload(self, name: str, *, body: bytes) -> None:
        """Unload a model; one that is not there is gone already."""
        with self.busy:
            self._unanswered.discard(name)
            try:
                self._call(name, "unload", body, self.http.timeouts.unload_s)
            except RefusedError as error:
                if error.status != 404:
                    raise

    def is_ready(self, name: str) -> bool:
        """Return what the model's own ready endpoint says."""
        read_s = self.http.timeouts.control_s
        return self.http.ask("GET", f"/v2/models/{name}/ready", read_s=read_s).status == 200

    def _call(self, name: str, verb: str, body: bytes, read_s: float) -> None:
        self.http.call("POST", f"/v2/repository/models/{name}/{verb}", read_s=read_s, body=body)
