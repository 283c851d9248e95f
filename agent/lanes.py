"""Which of the actions that wait may start now, beside those that are under way. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import assert_never

from agent.actions import (
    Action,
    Discard,
    Download,
    Install,
    Load,
    Rank,
    Remove,
    Stow,
    Unload,
    gpus,
    rank,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """How many actions may run side by side.

    Parameters
    ----------
    downloads
        Of them, one is kept from a store that has all others as long as another store's wait.
    files
        Other work on files: it takes moments and does not wait for downloads, which may take hours.
    server
        Calls to the server. Every load holds one of its HTTP threads until it ends (Triton has 8 by default),
        so this stays below their number or health checks hang. Loads that hung before get half of them at
        most; where there are several, one unload may be under way besides, which Triton answers at once:
        loads that hang do not keep others in memory.
    loads_per_device
        Loads on one GPU: the plan leaves room for the load peaks of so many.

    A load of a model that the server may have died of runs with no other, so that it is known which it was.
    """

    downloads: int = 4
    files: int = 2
    server: int = 4
    loads_per_device: int = 1

    @property
    def threads(self) -> int:
        """How many actions there are at most at a time."""
        return self.downloads + self.files + self.server + self.spare_unloads

    @property
    def spare_unloads(self) -> int:
        """How many unloads may be under way though all calls to the server are taken by loads."""
        return 1 if self.server > 1 else 0

    @property
    def hung_loads(self) -> int:
        """How many loads may be under way that the server took before and did not answer."""
        return max(1, self.server // 2)


Queue = str | tuple[str, ...]
"""What actions wait for: a store, a free hand for files, one for the server, or loads' devices."""


def queue_of(action: Action) -> Queue:
    """Return what an action waits for: where one cannot start, none behind it in its queue can either."""
    match action:
        case Download():
            return f"downloads from {_store(action)}"
        case Load():
            return gpus(action.pin.devices)
        case Unload():
            return "unloads"
        case _:
            return "files"


def _store(download: Download) -> str:
    """Return the scheme and the host or bucket of a URI: what is silent for one model is so for others."""
    scheme, mark, rest = download.storage_uri.partition("://")
    return f"{scheme}{mark}{rest.partition('/')[0]}" if mark else ""


def admit(
    queues: Iterable[Sequence[Action]],
    running: Collection[Action],
    *,
    lanes: Lanes,
    freeing: Collection[str] = (),
) -> tuple[Action, ...]:
    """Return which of the waiting actions may start now, most urgent first.

    Parameters
    ----------
    queues
        What waits, a sequence for every `queue_of`, each in the order of `rank`. Only their heads are looked
        at, so that thousands may wait.
    running
        Under way.
    lanes
        How many may run.
    freeing
        Devices on which an unload is under way: a load before its end would need both models' memory.
    """
    hands = _Hands(lanes, running, freeing)
    admitted: list[Action] = []
    heads = [(hands.turn(queue[0]), queue, 0) for queue in queues if queue]
    heapify(heads)
    while heads:
        _, queue, at = heads[0]
        admits = hands.take(queue[at])
        if admits:
            admitted.append(queue[at])
        if admits and at + 1 < len(queue):
            heapreplace(heads, (hands.turn(queue[at + 1]), queue, at + 1))
        else:
            heappop(heads)
    return tuple(admitted)


class _Hands:
    """What is free while actions are admitted."""

    def __init__(self, lanes: Lanes, running: Collection[Action], freeing: Collection[str]) -> None:
        self._lanes = lanes
        self._downloads = self._files = self._loads = self._hung = self._unloads = self._suspects = 0
        self._busy: Counter[str] = Counter()
        self._stores: Counter[str] = Counter()
        for action in running:
            self._begin(action)
        self._closed = set(freeing)

    def turn(self, action: Action) -> tuple[bool, Rank]:
        """Return the sort key of a queue's head: a store that has all lanes but one is the last resort."""
        has_most = isinstance(action, Download) and (
            self._stores[_store(action)] >= max(1, self._lanes.downloads - 1)
        )
        return has_most, rank(action)

    def take(self, action: Action) -> bool:
        """Begin an action if it may; an unload that waits closes its devices all the same."""
        if isinstance(action, Unload):
            self._closed.update(gpus(action.devices))
        admits = self._admits(action)
        if admits:
            self._begin(action)
        return admits

    def _admits(self, action: Action) -> bool:
        match action:
            case Download():
                return self._downloads < self._lanes.downloads
            case Install() | Stow() | Remove() | Discard():
                return self._files < self._lanes.files
            case Unload():
                return self._server < self._lanes.server or self._unloads < self._lanes.spare_unloads
            case Load(hung=hung) if hung and self._hung >= self._lanes.hung_loads:
                return False
            case Load(crashes=crashes) if self._suspects or (crashes and self._loads):
                return False
            case Load():
                free = all(
                    device not in self._closed and self._busy[device] < self._lanes.loads_per_device
                    for device in gpus(action.pin.devices)
                )
                return free and self._server < self._lanes.server
            case _:
                assert_never(action)

    @property
    def _server(self) -> int:
        return self._loads + self._unloads

    def _begin(self, action: Action) -> None:
        match action:
            case Download():
                self._downloads += 1
                self._stores[_store(action)] += 1
            case Install() | Stow() | Remove() | Discard():
                self._files += 1
            case Unload():
                self._unloads += 1
            case Load():
                self._loads += 1
                self._hung += action.hung > 0
                self._suspects += action.crashes > 0
                self._busy.update(gpus(action.pin.devices))
            case _:
                assert_never(action)
