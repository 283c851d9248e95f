"""How a search that takes its time is shown: one line that is rewritten, or a few lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, TextIO

from planner.report.words import usd_text

if TYPE_CHECKING:
    from planner.solve.progress import Progress

FIRST_AFTER_S = 1.0
"""Nothing is said about a search that is over sooner."""
_REWRITE_EVERY_S = 0.2
_LOG_LEAST_S, _LOG_MOST_S = 4.0, 60.0


class ProgressLine:
    """Writes where a search stands; call it with each ``Progress``, and ``close`` it at the end.

    A terminal has one line that is rewritten. Anything else gets a line at 1 s, 5 s, 10 s, 20 s and so on:
    the longer a search has taken, the rarer, but at least one a minute.

    Parameters
    ----------
    stream
        stderr.
    clock
        Returns seconds, monotonic.
    quiet
        Whether nothing is written at all.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float], quiet: bool = False) -> None:
        self._stream = stream
        self._clock = clock
        self._quiet = quiet
        self._rewrites = stream.isatty()
        self._started = clock()
        self._next = self._started + FIRST_AFTER_S
        self._latest: Progress | None = None
        self._width = 0
        self._lock = Lock()

    def __call__(self, progress: Progress) -> None:
        """Note where the search stands, and write it if it is time to."""
        with self._lock:
            self._latest = progress
            self._write_if_due()

    def tick(self) -> None:
        """Write again what is known, if it is time to: a search may be silent for long."""
        with self._lock:
            self._write_if_due()

    def close(self) -> None:
        """Wipe the line that was rewritten."""
        with self._lock:
            if self._width:
                self._stream.write("\r" + " " * self._width + "\r")
                self._stream.flush()
                self._width = 0

    def _write_if_due(self) -> None:
        now = self._clock()
        if self._quiet or self._latest is None or now < self._next:
            return
        elapsed = now - self._started
        wait = _REWRITE_EVERY_S if self._rewrites else min(_LOG_MOST_S, max(_LOG_LEAST_S, elapsed))
        self._next = now + wait
        text = f"{progress_text(self._latest)} [{elapsed:.0f} s]"
        if self._rewrites:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


@contextmanager
def shown_progress(stream: TextIO, *, quiet: bool) -> Iterator[ProgressLine]:
    """Show progress while the body runs, with a heartbeat between the search's own reports."""
    line = ProgressLine(stream, clock=time.monotonic, quiet=quiet)
    stopped = Event()
    beat = Thread(target=beat_until, args=(line, stopped), name="progress", daemon=True)
    beat.start()
    try:
        yield line
    finally:
        stopped.set()
        beat.join()
        line.close()


def beat_until(line: ProgressLine, stopped: Event) -> None:
    """Tick until told to stop."""
    while not stopped.wait(_REWRITE_EVERY_S):
        line.tick()


def progress_text(progress: Progress) -> str:
    """Return where a search stands: phase, cost, bound, gap and refused replicas."""
    cost, bound = progress.cost_microusd_per_h, progress.bound_microusd_per_h
    parts = [progress.phase]
    parts.append("no plan yet" if cost is None else f"cost {usd_text(cost)}")
    parts.append("no bound yet" if bound is None else f"bound {usd_text(bound)}")
    if cost is not None and bound is not None:
        parts.append(f"gap {100 * (cost - bound) / cost if cost else 0:.2f} %")
    if progress.refused:
        parts.append(f"{progress.refused:,} refused")
    return ", ".join(parts)
