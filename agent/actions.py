"""What to do next: (desired, observed) -> ordered actions. PURE.

Each model is decided on its own, from what is desired of it and what is seen of it, so the agent may be
stopped after any action and go on from what it finds. Order and what may run side by side are decided
afterwards, over all models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import assert_never

from agent.observed import PROBE_FAILED, Copy, Observed, Seen
from agent.pins import CPU, UNPINNED, Pin, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Fetch a model's files beside the repository, after some failed attempts."""

    name: str
    storage_uri: str
    urgency: tuple[int, int]
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """Move a fetched copy into the repository, its pin in its config; the server does not hold the model.

    A server that starts with every model of the repository then loads it where it should.
    """

    name: str
    pin: Pin
    framework: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stow:
    """Move a model out of the repository that the server does not hold, and keep its files."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Write the pin into the model's config and load it, or move it in place where only the pin changed.

    Parameters
    ----------
    peak_bytes
        What each of its devices may have to give while it loads, and what the model holds there already.
    kept, kept_bytes
        GPUs on which the server holds the model now, or may hold it, and goes on doing so; what it holds of
        each, None where nobody has seen that. Triton keeps the instances that stay where they are.
    """

    name: str
    pin: Pin
    framework: str
    urgency: tuple[int, int]
    peak_bytes: int = 0
    kept: tuple[str, ...] = ()
    kept_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unload:
    """Ask for an unload; the index confirms it later."""

    name: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Delete every copy of a model that nobody wants and the server does not hold."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """Delete a fetched copy that is not wanted any more."""

    name: str


Action = Download | Install | Stow | Load | Unload | Remove | Discard


# ------------------------------------------------------------------------------------------------ one model


def next_action(name: str, target: Target | None, observed: Observed) -> Action | None:
    """Return the next step for one model, or None when there is nothing to do or something to wait for.

    Parameters
    ----------
    name
        The model.
    target
        What is desired of it; None when it is not desired.
    observed
        What is seen of it, whether the server answers, and the time.
    """
    seen = observed.seen(name)
    if seen.failure is not None and observed.now_s < seen.failure.retry_at_s:
        return None
    if target is None:
        return _towards_gone(name, seen, observed)
    if target.model.state == "standby":
        return _towards_standby(target, seen, observed)
    if not _is_current(target, seen.installed):
        return _towards_files(target, seen, observed)
    if seen.staged is not None:
        return Discard(name=name)
    return _towards_loaded(target, seen, observed)


def _is_current(target: Target, copy: Copy | None) -> bool:
    return copy is not None and copy.storage_uri == target.model.storage_uri


def _towards_gone(name: str, seen: Seen, observed: Observed) -> Action | None:
    if seen.installed is None:
        # The server may hold it from a repository that is not the agent's.
        return Discard(name=name) if seen.staged is not None else None
    if seen.held or seen.unsure:
        return _towards_free(name, seen, observed)
    if not observed.may_touch_files:
        return None  # it may hold the model all the same
    if seen.installed.storage_uri is None:
        return (
            Discard(name=name) if seen.staged is not None else None
        )  # not the agent's files: left where they are
    return Remove(name=name)


def _towards_files(target: Target, seen: Seen, observed: Observed) -> Action | None:
    model = target.model
    if not _is_current(target, seen.staged):
        return Download(
            name=model.name,
            storage_uri=model.storage_uri,
            urgency=_urgency(target),
            attempts=0 if seen.failure is None else seen.failure.attempts,
        )
    if seen.held or (seen.unsure and seen.installed is not None):
        return _towards_free(model.name, seen, observed)
    if seen.installed is not None and not observed.may_touch_files:
        return None  # it may hold the copy that would be replaced
    if target.pin is None:
        return None
    return Install(name=model.name, pin=target.pin, framework=model.framework)


def _towards_standby(target: Target, seen: Seen, observed: Observed) -> Action | None:
    """Return what gets a copy staged, out of the repository: a server may load all of that at its start."""
    name = target.model.name
    if seen.installed is None and _is_current(target, seen.staged):
        return None
    if not _is_current(target, seen.installed):
        return _towards_files(target, seen, observed)
    if seen.staged is not None:
        return Discard(name=name)
    if seen.held or seen.unsure:
        return _towards_free(name, seen, observed)
    return Stow(name=name) if observed.may_touch_files else None


def _towards_free(name: str, seen: Seen, observed: Observed) -> Action | None:
    """Return what frees a held model: an unload, unless one is under way or a load must end first."""
    if not observed.server_live or (seen.row is not None and seen.row.state in ("LOADING", "UNLOADING")):
        return None
    return Unload(name=name, devices=held_devices(seen))


def _towards_loaded(target: Target, seen: Seen, observed: Observed) -> Action | None:
    if not observed.server_live or target.pin is None or seen.installed is None:
        return None
    sick = seen.failure is not None and seen.failure.reason == PROBE_FAILED
    leaves = seen.row is not None and seen.row.state == "UNLOADING"
    if (seen.row is not None and seen.row.state == "LOADING") or (leaves and not sick):
        return None
    ready = seen.row is not None and seen.row.state == "READY"
    if ready and sick:
        return _towards_free(target.model.name, seen, observed)
    if ready and seen.installed.loaded_pin == (target.pin.instance_group or ""):
        return None
    model = target.model
    kept = _kept_devices(target.pin, seen.installed) if ready else ()
    return Load(
        name=model.name,
        pin=target.pin,
        framework=model.framework,
        urgency=_urgency(target),
        peak_bytes=model.load_peak_bytes,
        kept=kept,
        kept_bytes=seen.installed.measured_bytes if kept and seen.installed.loaded_pin is not None else None,
    )


def _kept_devices(pin: Pin, copy: Copy) -> tuple[str, ...]:
    """Return the GPUs of a new pin on which a loaded copy may be now: all, where a load was cut short."""
    before = pin.devices if copy.loaded_pin is None else copy.loaded_devices
    return tuple(device for device in gpus(pin.devices) if device in before)


def _urgency(target: Target) -> tuple[int, int]:
    """Return a sort key: as the document orders, and the largest load peak first while there is most room."""
    return target.model.order, -target.model.load_peak_bytes


def held_devices(seen: Seen) -> tuple[str, ...]:
    """Return where a held model has its memory, as far as is known."""
    return seen.installed.loaded_devices if seen.installed is not None else ()


# ------------------------------------------------------------------------------------------------ all models


def next_actions(targets: Mapping[str, Target], observed: Observed) -> tuple[Action, ...]:
    """Return the next step of every model that has one, most urgent first."""
    names = {*targets, *observed.models}
    steps = (next_action(name, targets.get(name), observed) for name in names)
    return tuple(sorted((step for step in steps if step is not None), key=rank))


Rank = tuple[int, int, tuple[int, int], str]


def rank(action: Action) -> Rank:
    """Return the sort key of an action: what frees room comes before what takes it.

    A download that has failed comes after all that have failed less often: those of a store that hangs would
    otherwise take every turn.
    """
    match action:
        case Unload() | Remove() | Discard() | Stow():
            return 0, 0, (0, 0), action.name
        case Install():
            return 1, 0, (0, 0), action.name
        case Download():
            return 2, action.attempts, action.urgency, action.name
        case Load():
            return 2, 0, action.urgency, action.name
        case _:
            assert_never(action)


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
        so this stays below their number or health checks hang.
    loads_per_device
        Loads on one GPU: the plan leaves room for the load peaks of so many.
    """

    downloads: int = 4
    files: int = 2
    server: int = 4
    loads_per_device: int = 1

    @property
    def threads(self) -> int:
        """How many actions there are at most at a time."""
        return self.downloads + self.files + self.server


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
        self._downloads = self._server = self._files = 0
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
                return self._server < self._lanes.server
            case Load():
                free = all(
                    device not in self._closed and self._busy[device] < self._lanes.loads_per_device
                    for device in gpus(action.pin.devices)
                )
                return free and self._server < self._lanes.server
            case _:
                assert_never(action)

    def _begin(self, action: Action) -> None:
        match action:
            case Download():
                self._downloads += 1
                self._stores[_store(action)] += 1
            case Install() | Stow() | Remove() | Discard():
                self._files += 1
            case Unload():
                self._server += 1
            case Load():
                self._server += 1
                self._busy.update(gpus(action.pin.devices))
            case _:
                assert_never(action)


def gpus(devices: Iterable[str]) -> tuple[str, ...]:
    """Return the devices whose memory is tight: the CPU and unpinned models wait for nobody."""
    return tuple(device for device in devices if device not in (CPU, UNPINNED))
