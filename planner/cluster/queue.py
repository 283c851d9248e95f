"""What to look at next: keys that wait, each once, the ones that failed later."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Hashable
from threading import Condition
from typing import Generic, TypeVar

from planner.cluster.backoff import Backoff

K = TypeVar("K", bound=Hashable)

_BACKOFF = Backoff(first_s=0.005, most_s=1000.0)
"""client-go's default for controllers (ItemExponentialFailureRateLimiter)."""


class WorkQueue(Generic[K]):
    """A queue of keys for several threads, as controllers have: client-go's work queue.

    A key that is added twice is taken once. One that is added while somebody works on it is taken again when
    that work is done, never by two at a time. ``retry`` adds a key after a wait that doubles with every
    failure in a row, and no faster than ``retries_per_s`` over all keys.

    Parameters
    ----------
    backoff
        Waits of a key that failed.
    retries_per_s, burst
        Over all keys: so many retries a second, and so many at once after a quiet time (client-go: 10, 100).
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        backoff: Backoff = _BACKOFF,
        retries_per_s: float = 10.0,
        burst: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backoff = backoff
        self._rate = retries_per_s
        self._clock = clock
        self._burst_s = burst / retries_per_s
        self._paid_until = clock() - self._burst_s
        self._waiting: deque[K] = deque()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._count = 0
        self._closed = False
        self._changed = Condition()

    def __len__(self) -> int:
        """Keys that could be taken now."""
        with self._changed:
            self._ripen()
            return len(self._waiting)

    def add(self, key: K, *, after_s: float = 0.0) -> None:
        """Add a key, now or after so many seconds; the earliest of several such times counts."""
        with self._changed:
            if after_s > 0:
                self._put_off(key, self._clock() + after_s)
            else:
                self._add(key)
            self._changed.notify()

    def take(self, *, timeout_s: float | None = None) -> K | None:
        """Return the next key, for the caller alone until ``done``.

        Parameters
        ----------
        timeout_s
            How long to wait for one; None waits as long as it takes, 0 not at all.

        Returns
        -------
        The key; None if there was none in time or the queue is closed.
        """
        with self._changed:
            deadline = None if timeout_s is None else self._clock() + timeout_s
            while not self._closed:
                self._ripen()
                if self._waiting:
                    key = self._waiting.popleft()
                    self._dirty.discard(key)
                    self._working.add(key)
                    return key
                wait_s = self._wait_s(deadline)
                if wait_s is not None and wait_s <= 0:
                    return None
                self._changed.wait(wait_s)
        return None

    def done(self, key: K) -> None:
        """Say that the work on a key has ended, well or not; what was added meanwhile waits now."""
        with self._changed:
            self._working.discard(key)
            if key in self._dirty:
                self._waiting.append(key)
                self._changed.notify()

    def retry(self, key: K) -> float:
        """Add a key whose work failed, after its wait; return that wait in seconds."""
        with self._changed:
            self._failures[key] = failures = self._failures.get(key, 0) + 1
            now = self._clock()
            self._paid_until = max(self._paid_until, now - self._burst_s) + 1 / self._rate
            wait_s = max(self._backoff.wait_s(failures), self._paid_until - now)
            self._put_off(key, now + wait_s)
            self._changed.notify()
            return wait_s

    def forget(self, key: K) -> None:
        """Say that a key's work went well: its next failure is its first."""
        with self._changed:
            self._failures.pop(key, None)

    def close(self) -> None:
        """Wake everyone who waits, with nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # ------------------------------------------------------------------------------- all under the condition

    def _add(self, key: K) -> None:
        if self._closed or key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._waiting.append(key)

    def _put_off(self, key: K, due: float) -> None:
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._count += 1  # keys need not be comparable
        heapq.heappush(self._later, (due, self._count, key))

    def _ripen(self) -> None:
        """Move what is due to what waits."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:  # not one that was replaced by an earlier time
                del self._due[key]
                self._add(key)

    def _wait_s(self, deadline: float | None) -> float | None:
        """Return how long to wait at most before looking again; None for ever, 0 or less not at all."""
        now = self._clock()
        limits = [] if deadline is None else [deadline - now]
        if self._later and not (limits and limits[0] <= 0):
            limits.append(max(self._later[0][0] - now, 1e-3))
        return min(limits) if limits else None
