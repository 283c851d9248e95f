"""The safety stop by the clock: asked often and cheaply; once it says stop it stays with that."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds that only grow."""


class Watch:
    """Says when a search has to end.

    ``stopped`` says whether it has ended anything, or a watch made by ``before`` has; ``limit_s`` is the time
    for everything as it was asked for, whatever has passed.

    Parameters
    ----------
    clock
        What is read.
    limit_ms
        Time for everything, counted from now; None never ends.
    """

    def __init__(self, clock: Clock, limit_ms: int | None = None) -> None:
        self._clock, self._started = clock, clock()
        self.limit_s = None if limit_ms is None else limit_ms / 1000
        self._until = None if self.limit_s is None else self._started + self.limit_s
        self._over = self.stopped = False
        self._whole: Watch | None = None

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

    def before(self, seconds: float) -> Watch:
        """Return a watch that ends so much earlier, for a step that is good, but slower than the next one.

        It leaves that step at least half of the time.
        """
        if self._until is None or seconds <= 0:
            return self
        earlier = Watch(self._clock)
        left = max(0.0, self._until - earlier._started)
        earlier._whole, earlier.limit_s = self, self.limit_s
        earlier._until = self._until - min(seconds, left / 2)
        return earlier

    def is_over(self, needed_s: float = 0.0) -> bool:
        """Return whether the time is up, now or when it was asked before.

        Less than ``needed_s``, which a step takes before it can stop, counts as none.
        """
        if self._until is not None and not self._over and self._clock() + needed_s >= self._until:
            self._stop()
        return self._over

    def left_s(self) -> float | None:
        """Return the seconds that are left, at least a millisecond; None without a limit."""
        if self._until is None:
            return None
        left = 0.0 if self._over else self._until - self._clock()
        if left <= 0:
            self._stop()
        return max(0.001, left)

    def _stop(self) -> None:
        self._over = self.stopped = True
        if self._whole is not None:
            self._whole.stopped = True
