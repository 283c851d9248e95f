"""The safety stop by the clock: asked often and cheaply; once it says stop it stays with that."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds that only grow."""


class Watch:
    """Says when a search has to end.

    Parameters
    ----------
    clock
        What is read.
    limit_ms
        Time for everything, counted from now; None never ends.
    """

    def __init__(self, clock: Clock, limit_ms: int | None = None) -> None:
        self._clock, self._started = clock, clock()
        self._until = None if limit_ms is None else self._started + limit_ms / 1000
        self.stopped = False

    def reserve(self, factor: float, *, least_s: float = 0.0) -> float | None:
        """Keep time for what comes after the search: so many times what has passed since the start, or more.

        Parameters
        ----------
        factor
            Times what has passed, which tells how fast the machine is.
        least_s
            Seconds that are kept at least.

        Returns
        -------
        float or None
            How many times as much as has passed is then left; None without a limit.
        """
        if self._until is None:
            return None
        now = self._clock()
        passed = max(now - self._started, 1e-9)
        self._until -= max(factor * passed, least_s)
        return (self._until - now) / passed

    def is_over(self) -> bool:
        """Return whether the time is up, now or when it was asked before."""
        if self._until is not None and not self.stopped:
            self.stopped = self._clock() >= self._until
        return self.stopped

    def left_s(self) -> float | None:
        """Return the seconds that are left, at least a millisecond; None without a limit."""
        if self._until is None:
            return None
        left = 0.0 if self.stopped else self._until - self._clock()
        self.stopped = left <= 0
        return max(0.001, left)
