"""What to do next: (desired, observed) -> ordered actions. PURE.

Each model is decided on its own, from what is desired of it and what is seen of it, so the agent may be
stopped after any action and go on from what it finds. Order and what may run side by side are decided
afterwards, over all models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from agent.observed import (
    CRASHES_SERVER,
    NO_ROOM,
    OUT_OF_MEMORY,
    PROBE_FAILED,
    STUCK_UNLOAD_S,
    Absence,
    Copy,
    Observed,
    Seen,
)
from agent.pins import CPU, UNPINNED, Pin, Target

_TRIES_BESIDE = {NO_ROOM: 4, OUT_OF_MEMORY: 2}
"""So often room for an old and a new copy of a model is looked for before the old one is unloaded for it.

To ask NVML costs nothing. A load that the server tries in vain takes memory for a moment that requests of
other models may need; it is tried again once, since another load may have had the room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Fetch a model's files beside the repository, after some failed attempts.

    Parameters
    ----------
    update
        Whether an older copy is there that stays in use if this fails.
    """

    name: str
    storage_uri: str
    urgency: tuple[int, int]
    attempts: int = 0
    update: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """Move a fetched copy into the repository, its pin in its config; the server does not hold the model.

    A server that starts with every model of the repository then loads it where it should.

    Parameters
    ----------
    update
        Whether the older copy that is there is kept, to come back if this one does not load.
    """

    name: str
    pin: Pin
    framework: str
    update: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stow:
    """Move a model out of the repository that the server does not hold, and keep its files.

    A former copy that stands aside for it takes its place again.

    Parameters
    ----------
    unsure
        Whether a server that is just starting may load it all the same.
    """

    name: str
    unsure: bool = False


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
    update
        Whether the fetched copy takes the place of the older one that serves: the server builds it beside
        that one, which serves on until it is there, and also if it fails.
    hung
        Tries in a row that the server took and did not answer in time.
    crashes
        Server processes in a row that have died during its loads: the next one is loaded with no other.
    repeated
        Whether the server may have carried out the same load already, without an answer that was heard: then
        it holds what is asked for, and this load changes nothing.
    """

    name: str
    pin: Pin
    framework: str
    urgency: tuple[int, int]
    peak_bytes: int = 0
    kept: tuple[str, ...] = ()
    kept_bytes: int | None = None
    update: bool = False
    hung: int = 0
    crashes: int = 0
    repeated: bool = False


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
    """Delete a fetched copy that is not wanted any more, and a former one that is not needed any more."""

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
    if _gives_way(target, seen, observed):
        return Stow(name=name, unsure=not observed.may_touch_files)
    if seen.failure is not None and observed.now_s < seen.failure.retry_at_s:
        return None
    return _towards_desired(name, target, seen, observed)


def _towards_desired(name: str, target: Target | None, seen: Seen, observed: Observed) -> Action | None:
    if target is None:
        return _towards_gone(name, seen, observed)
    if target.model.state == "standby":
        return _towards_standby(target, seen, observed)
    if not _is_current(target, seen.installed):
        return _towards_newer(target, seen, observed)
    if seen.staged is not None and seen.former is None:
        return Discard(name=name)
    return _towards_loaded(target, seen, observed)


def _gives_way(target: Target | None, seen: Seen, observed: Observed) -> bool:
    """Return whether a copy leaves the repository so that a server can start, or for what a start would do.

    Files of a model that a server holds are never among them: while one listens, held models stay; and who
    listens no more has ended, so that at most a server that is starting may be reading them.
    """
    failure = seen.failure
    if seen.installed is None or seen.installed.storage_uri is None:
        return False
    waits = failure is not None and observed.now_s < failure.retry_at_s
    if failure is not None and failure.state == "Unloading" and waits:
        return False
    blamed = seen.crashes > 0 and target is not None and _is_current(target, seen.installed)
    if blamed and observed.server_live:
        held_out = failure is not None and failure.reason == CRASHES_SERVER and waits
        return held_out and not (seen.held or seen.unsure)
    if target is None or (target.model.state == "standby" and _is_current(target, seen.installed)):
        return observed.absence >= Absence.LASTING
    if blamed:
        return observed.absence >= Absence.SEEN
    # What the last process has served does not keep the next from starting.
    return observed.absence == Absence.ENDLESS and not (seen.ready and seen.former is None)


def _is_current(target: Target, copy: Copy | None) -> bool:
    return copy is not None and copy.storage_uri == target.model.storage_uri


def _towards_gone(name: str, seen: Seen, observed: Observed) -> Action | None:
    if seen.installed is None:
        # The server may hold it from a repository that is not the agent's.
        if seen.staged is None:
            return None
        return _towards_free(name, seen, observed) if seen.unsure else Discard(name=name)
    if seen.held or seen.unsure:
        return _towards_free(name, seen, observed)
    if not observed.may_touch_files:
        return None  # it may hold the model all the same
    if seen.installed.storage_uri is None:
        return (
            Discard(name=name) if seen.staged is not None else None
        )  # not the agent's files: left where they are
    return Remove(name=name)


def _towards_newer(target: Target, seen: Seen, observed: Observed) -> Action | None:
    """Return what gets a copy loaded that is not in the repository; an older one is in use until then."""
    if seen.installed is None or seen.installed.storage_uri is None:  # not the agent's
        return _towards_files(target, seen, observed)
    if seen.former is not None and (seen.held or seen.unsure):
        return _towards_loaded(target, seen, observed)  # which of the two serves has to be known first
    if _comes_first(target, seen, observed):
        return None if _serves(seen) else _towards_loaded(target, seen, observed)
    # The unload of an older copy that never ends is not waited for: the server takes a load beside it.
    beside = seen.ready or hangs(seen, now_s=observed.now_s)
    if beside and _is_current(target, seen.staged) and not is_apart(target, seen):
        if target.pin is None or not observed.server_live:
            return None
        return _load(target, target.pin, crashes=seen.crashes, update=True)
    return _towards_files(target, seen, observed, update=True)


def _comes_first(target: Target, seen: Seen, observed: Observed) -> bool:
    """Return whether an older copy has its turn: the newer one has failed, and waits, or neither serves."""
    if seen.setback is None:
        return False
    waits = observed.now_s < seen.setback.retry_at_s
    is_missing = observed.server_live and seen.failure is None and not _serves(seen)
    return waits or (is_missing and not is_apart(target, seen))


def _serves(seen: Seen) -> bool:
    """Return whether the copy in the repository is certainly the one that answers."""
    known = seen.installed is not None and seen.installed.loaded_pin is not None
    return seen.ready and known and not _is_sick(seen)


def is_apart(target: Target, seen: Seen) -> bool:
    """Return whether a copy that serves has to leave before the newer one is loaded.

    That is so where there was no memory for both, several times in a row. It may turn out that the newer one
    alone has no room either, so that is tried ever more rarely: after 4 failures of whatever kind, 8, 16, and
    so on. Never for a move to other devices: what the model holds now is elsewhere, and would be given up for
    nothing.
    """
    setback = seen.setback
    if setback is None or setback.short < _TRIES_BESIDE.get(setback.reason, setback.short + 1):
        return False
    return setback.attempts & (setback.attempts - 1) == 0 and _shares_devices(target, seen)


def _shares_devices(target: Target, seen: Seen) -> bool:
    """Return whether a model may hold memory now where it is wanted."""
    before = held_devices(seen)
    after = target.pin.devices if target.pin is not None else ()
    known = before and after and UNPINNED not in (*before, *after)
    return not known or not set(before).isdisjoint(after)


def _towards_files(target: Target, seen: Seen, observed: Observed, *, update: bool = False) -> Action | None:
    model = target.model
    if not _is_current(target, seen.staged):
        failure = seen.setback if update else seen.failure
        return Download(
            name=model.name,
            storage_uri=model.storage_uri,
            urgency=_urgency(target),
            attempts=0 if failure is None else failure.attempts,
            update=update,
        )
    if target.pin is None and update:
        return None
    if seen.held or (seen.unsure and seen.installed is not None):
        return _towards_free(model.name, seen, observed)
    if seen.installed is not None and not observed.may_touch_files:
        return None  # it may hold the copy that would be replaced
    waits = observed.absence == Absence.ENDLESS or (seen.crashes > 0 and not observed.server_live)
    if target.pin is None or waits:
        return None  # a server starts without it, which may die of it
    return Install(name=model.name, pin=target.pin, framework=model.framework, update=update)


def _towards_standby(target: Target, seen: Seen, observed: Observed) -> Action | None:
    """Return what gets a copy staged, out of the repository: a server may load all of that at its start."""
    name = target.model.name
    if seen.installed is None and _is_current(target, seen.staged):
        return _towards_free(name, seen, observed) if seen.unsure else None
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
    sick = _is_sick(seen)
    leaves = seen.row is not None and seen.row.state == "UNLOADING"
    of_newer = seen.setback is not None and seen.setback.reason == PROBE_FAILED
    stuck = sick or of_newer or hangs(seen, now_s=observed.now_s)
    if (seen.row is not None and seen.row.state == "LOADING") or (leaves and not stuck):
        return None
    if seen.ready and sick:
        return _towards_free(target.model.name, seen, observed)
    if seen.ready and seen.installed.loaded_pin == (target.pin.instance_group or ""):
        return None if seen.former is None else Discard(name=target.model.name)
    kept = _kept_devices(target.pin, seen.installed) if seen.ready else ()
    return replace(
        _load(target, target.pin, crashes=seen.crashes),
        kept=kept,
        kept_bytes=seen.installed.measured_bytes if kept and seen.installed.loaded_pin is not None else None,
        hung=seen.failure.hung if seen.failure is not None else 0,
        repeated=_may_be_done(seen, seen.installed),
    )


def _load(target: Target, pin: Pin, *, crashes: int, update: bool = False) -> Load:
    model = target.model
    return Load(
        name=model.name,
        pin=pin,
        framework=model.framework,
        urgency=_urgency(target),
        peak_bytes=model.load_peak_bytes,
        update=update,
        crashes=crashes,
    )


def _may_be_done(seen: Seen, installed: Copy) -> bool:
    """Return whether the server may hold the copy in the repository though no load of it was answered."""
    open_which = seen.former is not None and (seen.held or seen.unsure)
    return open_which or (seen.unsure and installed.loaded_pin is None)


def hangs(seen: Seen, *, now_s: float) -> bool:
    """Return whether an unload may be one that never ends."""
    asked_at_s = seen.unload_asked_at_s
    return asked_at_s is not None and now_s - asked_at_s >= STUCK_UNLOAD_S


def _is_sick(seen: Seen) -> bool:
    """Return whether a model is loaded, as far as is known, and does not answer."""
    return seen.failure is not None and seen.failure.reason == PROBE_FAILED


def _kept_devices(pin: Pin, copy: Copy) -> tuple[str, ...]:
    """Return the GPUs of a new pin on which a loaded copy may be now: all, where a load was cut short."""
    before = pin.devices if copy.loaded_pin is None else copy.loaded_devices
    return tuple(device for device in gpus(pin.devices) if device in before)


def _urgency(target: Target) -> tuple[int, int]:
    """Return a sort key: as the document orders, and the largest load peak first while there is most room."""
    return target.model.order, -target.model.load_peak_bytes


def held_devices(seen: Seen) -> tuple[str, ...]:
    """Return where a held model has its memory, as far as is known: all places where it may be."""
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

    A download that has failed comes after all that have failed less often, and so does a load that the server
    did not answer, or of which it has died: those of a store, or those models, that hang would otherwise take
    every turn.
    """
    match action:
        case Unload() | Remove() | Discard() | Stow():
            return 0, 0, (0, 0), action.name
        case Install():
            return 1, 0, (0, 0), action.name
        case Download():
            return 2, action.attempts, action.urgency, action.name
        case Load():
            return 2, action.hung + action.crashes, action.urgency, action.name
        case _:
            assert_never(action)


def gpus(devices: Iterable[str]) -> tuple[str, ...]:
    """Return the devices whose memory is tight: the CPU and unpinned models wait for nobody."""
    return tuple(device for device in devices if device not in (CPU, UNPINNED))
