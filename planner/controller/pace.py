"""When what has changed is written: at once where little happens, seldom while much does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long is waited, in seconds.

    Parameters
    ----------
    quiet_s
        Without a further change of a shard's documents before they are written.
    longest_s
        From the first change that is not written; also between two writes of one shard's documents while many
        changes come.
    storm
        So many changes since the last write are many.
    status_s
        That a model may be on its way to being loaded before its status says more than that it is assigned.
    switch_s
        From when all copies of a move are loaded until the old one goes: routes follow meanwhile.
    retry_s
        Between two looks for room for what was refused.
    at_once
        Writes that are handed out together.
    empty_s
        That a shard may be empty before it is closed; None is for ever, but for shards of released groups.
    may_close
        Whether anything may be closed at all.
    """

    quiet_s: float = 0.2
    longest_s: float = 10.0
    storm: int = 20
    status_s: float = 30.0
    switch_s: float = 2.0
    retry_s: float = 1.0
    at_once: int = 500
    empty_s: float | None = None
    may_close: bool = True


@dataclass(slots=True, kw_only=True)
class _Wait:
    """Changes of a shard that are not written: when the first and the last came, and how many."""

    first: float
    last: float
    count: int = 1


class Postponed:
    """The shards whose documents are to be looked at, and when.

    Parameters
    ----------
    pace
        How long is waited.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waits: dict[str, _Wait] = {}
        self._written: dict[str, float] = {}
        self._resting: dict[str, float] = {}

    def __contains__(self, shard: str) -> bool:
        return shard in self._waits

    def __len__(self) -> int:
        return len(self._waits)

    def add(self, shard: str, now: float) -> None:
        """Take note of a change."""
        wait = self._waits.get(shard)
        if wait is None:
            self._waits[shard] = _Wait(first=now, last=now)
            return
        wait.last, wait.count = now, wait.count + 1

    def due(self, now: float) -> Iterator[str]:
        """Yield the shards whose time has come, by name."""
        for shard in sorted(self._waits):
            if self._at(shard) <= now:
                yield shard

    def next(self) -> float | None:
        """Return when the next one is due; None if nothing waits."""
        return min(map(self._at, self._waits), default=None)

    def written(self, shard: str, now: float) -> None:
        """Take note that a shard's documents are being written; they are looked at again at once."""
        self._written[shard] = now
        self._waits[shard] = _Wait(first=now, last=now - self._pace.quiet_s, count=0)

    def rest(self, shard: str, until: float) -> None:
        """Take note that nothing can be written for a while."""
        self._resting[shard] = until

    def done(self, shard: str) -> None:
        """Take note that a shard's documents say what they should."""
        self._waits.pop(shard, None)
        self._resting.pop(shard, None)

    def _at(self, shard: str) -> float:
        wait, pace = self._waits[shard], self._pace
        soon = min(wait.last + pace.quiet_s, wait.first + pace.longest_s)
        soon = max(soon, self._resting.get(shard, soon))
        if wait.count < pace.storm or shard not in self._written:
            return soon
        return max(soon, self._written[shard] + pace.longest_s)
