"""Looks at loaded models again and again, spread over time: one that died may still be called ready."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

from agent.workers import Workers

log = logging.getLogger(__name__)

_AT_A_TIME = 2
"""Probes in flight at most: each takes a thread of the server and a share of its work."""


class Prober:
    """Probes every model once a period, as long as two at a time suffice for that.

    Parameters
    ----------
    period_s
        Between two probes of one model.
    names
        The models that are loaded.
    probe
        Returns what is wrong with one; None if nothing is.
    failed
        Told a model and what is wrong with it.
    """

    def __init__(
        self,
        *,
        period_s: float,
        names: Callable[[], Collection[str]],
        probe: Callable[[str], str | None],
        failed: Callable[[str, str], None],
    ) -> None:
        self._period_s = period_s
        self._names = names
        self._probe = probe
        self._failed = failed
        self._slots = threading.Semaphore(_AT_A_TIME)
        self._workers = Workers(_AT_A_TIME)
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin, in a thread of its own, until `stop` or the process ends."""
        threading.Thread(target=self._run, name="prober", daemon=True).start()

    def stop(self) -> None:
        """Begin no further probe."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            names = sorted(self._names())
            pause_s = self._period_s / max(1, len(names))
            for name in names:
                self._slots.acquire()
                self._workers.submit(lambda name=name: self._look_at(name))  # type: ignore[misc]  # bound now
                if self._ended.wait(pause_s):
                    return
            if not names and self._ended.wait(pause_s):
                return

    def _look_at(self, name: str) -> None:
        try:
            fault = self._probe(name)
            if fault is not None:
                self._failed(name, fault)
        except Exception:  # a fault of ours must not end the probes
            log.exception("a probe ended in an error that nobody expected", extra={"model": name})
        finally:
            self._slots.release()
