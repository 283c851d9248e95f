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
    """Fetch a model's files beside the repository."""

    name: str
    storage_uri: str
    urgency: tuple[int, int]


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
FileAction = Download | Install | Stow | Remove | Discard
ServerAction = Load | Unload


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
        return Download(name=model.name, storage_uri=model.storage_uri, urgency=_urgency(target))
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


def rank(action: Action) -> tuple[int, tuple[int, int], str]:
    """Return the sort key of an action: what frees room comes before what takes it."""
    match action:
        case Unload() | Remove() | Discard() | Stow():
            return 0, (0, 0), action.name
        case Install():
            return 1, (0, 0), action.name
        case Download() | Load():
            return 2, action.urgency, action.name
        case _:
            assert_never(action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """How many actions may run side by side.

    Parameters
    ----------
    files
        Downloads and other work on files.
    server
        Calls to the server. Every load holds one of its HTTP threads until it ends (Triton has 8 by default),
        so this stays below their number or health checks hang.
    loads_per_device
        Loads on one GPU: the plan leaves room for the load peaks of so many.
    """

    files: int = 4
    server: int = 4
    loads_per_device: int = 1


Queue = str | tuple[str, ...]
"""What actions wait for: a free hand for files, one for the server, or loads' devices."""


def queue_of(action: Action) -> Queue:
    """Return what an action waits for: where one cannot start, none behind it in its queue can either."""
    match action:
        case Load():
            return gpus(action.pin.devices)
        case Unload():
            return "unloads"
        case _:
            return "files"


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
    files = lanes.files - sum(isinstance(action, FileAction) for action in running)
    server = lanes.server - sum(isinstance(action, ServerAction) for action in running)
    busy = Counter(
        device for action in running if isinstance(action, Load) for device in gpus(action.pin.devices)
    )
    closed = set(freeing)
    admitted: list[Action] = []
    heads = [(rank(queue[0]), queue, 0) for queue in queues if queue]
    heapify(heads)
    while heads:
        _, queue, at = heads[0]
        action = queue[at]
        match action:
            case Download() | Install() | Stow() | Remove() | Discard():
                admits = files > 0
                files -= admits
            case Unload():
                closed.update(gpus(action.devices))
                admits = server > 0
                server -= admits
            case Load():
                wanted = gpus(action.pin.devices)
                free = all(d not in closed and busy[d] < lanes.loads_per_device for d in wanted)
                admits = server > 0 and free
                if admits:
                    server -= 1
                    busy.update(wanted)
            case _:
                assert_never(action)
        if admits:
            admitted.append(action)
        if admits and at + 1 < len(queue):
            heapreplace(heads, (rank(queue[at + 1]), queue, at + 1))
        else:
            heappop(heads)
    return tuple(admitted)


def gpus(devices: Iterable[str]) -> tuple[str, ...]:
    """Return the devices whose memory is tight: the CPU and unpinned models wait for nobody."""
    return tuple(device for device in devices if device not in (CPU, UNPINNED))
