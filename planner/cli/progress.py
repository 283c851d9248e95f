"""How a search that takes its time is shown: one line that is rewritten, or a few lines in a log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from planner.report.words import usd_text

if TYPE_CHECKING:
    from planner.solve.portfolio import Progress

FIRST_AFTER_S = 1.0
"""Nothing is said about a search that is over sooner."""
_REWRITE_EVERY_S = 0.1
_LOG_EVERY_S = 5.0


class ProgressLine:
    """Writes where a search stands; call it with each ``Progress``, and ``close`` it at the end.

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
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        """Write a line if it is time for one."""
        now = self._clock()
        if self._quiet or now < self._next:
            return
        self._next = now + (_REWRITE_EVERY_S if self._rewrites else _LOG_EVERY_S)
        text = f"{progress_text(progress)} [{now - self._started:.0f} s]"
        if self._rewrites:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Wipe the line that was rewritten."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0


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
