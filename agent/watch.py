"""Watch the mounted documents. An event is a hint: the reader re-reads, slowly also without one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

# Events are gathered until none has come for so long; the library wakes as often while nothing happens, and
# with 20 ms that was half of what an idle agent took. A kubelet's swap is a handful of operations.
_QUIET_MS = 100
_AGAIN_S = 5.0


def watch_directory(directory: Path, hint: Callable[[], None]) -> None:
    """Call ``hint`` from another thread after every change, until the process ends.

    The directory is watched, not the files: a watched file or link that is swapped by rename reports once and
    never again.
    """
    threading.Thread(
        target=_watch, args=(directory, hint, threading.Event()), name="watch", daemon=True
    ).start()


def _watch(directory: Path, hint: Callable[[], None], ended: threading.Event) -> None:
    from watchfiles import watch  # a quarter of the start time, not needed to start

    level = logging.INFO
    while True:
        try:
            for _ in watch(directory, watch_filter=None, step=_QUIET_MS, debounce=500, raise_interrupt=False):
                level = logging.INFO
                hint()
        except (OSError, RuntimeError) as error:
            text = "the documents cannot be watched; they are re-read slowly"
            log.log(level, text, extra={"error": str(error)})
            level = logging.DEBUG  # said once, not every few seconds
        if ended.wait(_AGAIN_S):
            return
