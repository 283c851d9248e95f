"""Where actions are carried out: do one, and say what came of it."""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import assert_never

from agent.actions import Action, Discard, Download, Install, Load, Remove, Stow, Unload
from agent.desired import ProbeKind
from agent.device_room import DeviceRoom
from agent.errors import (
    BrokenConnectionError,
    NoRoomError,
    PinError,
    ProbeError,
    RefusedError,
    Retry,
    ServerError,
    StorageError,
    SupersededError,
    UnansweredError,
    UnreachableError,
)
from agent.observed import (
    NO_ROOM,
    OUT_OF_MEMORY,
    PROBE_FAILED,
    FailedState,
)
from agent.outcomes import (
    SERVER_UNREACHABLE,
    Discarded,
    Downloaded,
    Dropped,
    Failed,
    Installed,
    Loaded,
    Outcome,
    Removed,
    Stowed,
    UnloadAsked,
)
from agent.pins import Pin
from agent.records import Copies
from agent.repository import Repository
from agent.servers.port import ModelServer
from agent.servers.refusals import is_out_of_memory

log = logging.getLogger(__name__)

_BY_OTHERS = (502, 504)
"""Statuses of what stands between agent and server, where the server did not answer (RFC 9110)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where actions are carried out.

    Parameters
    ----------
    repository, server, room
        The files, the model server and the devices' memory.
    seconds
        A clock that only runs forward.
    probe
        How a model is looked at after its load.
    """

    repository: Repository
    server: ModelServer
    room: DeviceRoom = field(default_factory=DeviceRoom)
    seconds: Callable[[], float] = time.monotonic
    probe: Callable[[str], ProbeKind] = lambda _name: "none"


def carry_out(action: Action, site: Site, *, unwanted: Callable[[], bool]) -> Outcome:
    """Do what an action says.

    Parameters
    ----------
    action, site
        What to do, and where.
    unwanted
        Asked during a download; true ends it.
    """
    try:
        return _carry_out(action, site, unwanted)
    except SupersededError:
        return Dropped()
    except (
        StorageError,
        PinError,
        NoRoomError,
        UnreachableError,
        RefusedError,
        ProbeError,
        OSError,
        UnicodeError,
    ) as error:
        return _end_in_failure(action, error, site)


def _end_in_failure(action: Action, error: Exception, site: Site) -> Failed:
    """Return what has come of an action that failed; a copy that the server has refused gives way again."""
    failed = _failed(action, error)
    match action:
        case Download(update=update) | Install(update=update):
            return replace(failed, update=update)
        case Load(update=update):
            back = _is_known(action, error) and _go_back(action, site, error)
            copies = _copies(action.name, site)
            exchanged = copies is not None and copies.former is not None
            return replace(failed, update=back or (update and not exchanged), copies=copies)
        case _:
            return failed


def _is_known(load: Load, error: Exception) -> bool:
    """Return whether it is known that the server does not hold the copy that could not be loaded.

    Else its files stay where they are: without an answer to this load, as where it was not even asked for, an
    earlier one may have been carried out.
    """
    if isinstance(error, RefusedError | ProbeError):
        return True
    return not isinstance(error, UnreachableError) and not (load.update or load.repeated)


def _go_back(load: Load, site: Site, error: Exception) -> bool:
    """Put the former copy of a model back, if there is one; return whether that is done."""
    # An earlier load of the new copy that was not answered may have been carried out, and this one, if it
    # was not the server that answered.
    unsure = not load.update or (isinstance(error, RefusedError) and error.status in _BY_OTHERS)
    holds_new = isinstance(error, ProbeError)
    try:
        former = site.repository.copies(load.name).former
        if former is None or not site.repository.restore(load.name, serves=not (unsure or holds_new)):
            return False
        if holds_new:
            # The old copy is built beside the new one, where there is room.
            site.server.load(load.name)
            if former.loaded_pin is not None:
                pin = Pin(instance_group=former.loaded_pin or None, devices=former.loaded_devices)
                site.repository.remember_loaded(load.name, pin)
    except ServerError:
        with contextlib.suppress(ServerError):
            site.server.unload(load.name)
    except OSError:
        log.exception("the former copy of a model cannot be put back", extra={"model": load.name})
        return False
    return True


def _copies(name: str, site: Site) -> Copies | None:
    try:
        return site.repository.copies(name)
    except OSError:
        return None


def unexpected(action: Action, error: Exception, site: Site) -> Failed:
    """Return what has come of an action that ended in a fault of the agent's own."""
    copies = _copies(action.name, site) if isinstance(action, Load) else None
    return Failed(state="FailedToLoad", reason="Internal", message=repr(error), retry="late", copies=copies)


def _carry_out(  # noqa: PLR0911 - one a case
    action: Action, site: Site, unwanted: Callable[[], bool]
) -> Outcome:
    repository, server = site.repository, site.server
    match action:
        case Download(name=name, storage_uri=uri):
            return Downloaded(copy=repository.download(name, uri, unwanted=unwanted, seconds=site.seconds))
        case Install(name=name, pin=pin, framework=framework, update=update):
            copy = repository.install(name, pin, framework, layout=server.layout, keep=update)
            return Installed(copy=copy, former=repository.copies(name).former)
        case Stow(name=name, unsure=unsure):
            return replace(_stow(name, repository), unsure=unsure)
        case Load():
            return _load(action, site)
        case Unload(name=name):
            server.unload(name)
            return UnloadAsked()
        case Remove(name=name):
            repository.remove(name)
            return Removed()
        case Discard(name=name):
            repository.discard_staged(name)
            repository.discard_former(name)
            return Discarded()
        case _:
            assert_never(action)


def _stow(name: str, repository: Repository) -> Stowed:
    if not repository.restore(name, serves=False):
        return Stowed(copy=repository.stow(name))
    copies = repository.copies(name)
    if copies.staged is None:
        raise FileNotFoundError(f"no record of {name}")
    return Stowed(copy=copies.staged, installed=copies.installed)


def _load(load: Load, site: Site) -> Loaded:
    started_s = site.seconds()
    with site.room.held(load) as weighing:
        arrange = site.repository.exchange if load.update else site.repository.place
        arrange(load.name, load.pin, load.framework, layout=site.server.layout)
        site.server.load(load.name)
        taken = site.room.taken(weighing)
        _check(load.name, site)
    copy = site.repository.remember_loaded(load.name, load.pin, measured_bytes=taken)
    site.repository.discard_former(load.name)
    return Loaded(copy=copy, seconds=site.seconds() - started_s, update=load.update)


def _check(name: str, site: Site) -> None:
    """Refuse a model that does not answer, and take it from the server: loading it again would not help.

    Where a former copy comes back, its load takes it from the server.
    """
    fault = find_fault(name, site)
    if fault is None:
        return
    if site.repository.copies(name).former is None:
        with contextlib.suppress(ServerError):
            site.server.unload(name)
    raise ProbeError(fault)


def find_fault(name: str, site: Site) -> str | None:
    """Return what is wrong with a loaded model, looked at as it is asked for; None if nothing is known."""
    kind = site.probe(name)
    if kind == "none":
        return None
    given = site.repository.test_request(name) if kind == "infer" else None
    return site.server.find_fault(name, infer=kind == "infer", given=given)


def _failed(action: Action, error: Exception) -> Failed:
    reason, retry = _judged(action, error)
    return Failed(
        state=_failed_state(action, error),
        reason=reason,
        message=str(error),
        retry=retry,
        hung=isinstance(action, Load) and isinstance(error, UnansweredError),
        broken=isinstance(action, Load) and isinstance(error, BrokenConnectionError),
    )


def _failed_state(action: Action, error: Exception) -> FailedState:
    if isinstance(error, PinError | UnicodeError):
        return "FailedToLoad"  # the files are there, their config is of no use
    match action:
        case Download() | Install():
            return "DownloadFailed"
        case Load():
            return "FailedToLoad"
        case Unload() | Remove() | Discard() | Stow():
            return "Unloading"
        case _:
            assert_never(action)


def _judged(action: Action, error: Exception) -> tuple[str, Retry]:  # noqa: PLR0911 - one a case
    """Return one word for an error, and whether another try may soon help."""
    match error:
        case StorageError(reason=reason, retry=retry):
            return reason, retry
        case PinError(reason=reason):
            return reason, "late"
        case ProbeError():
            return PROBE_FAILED, "late"
        case NoRoomError():
            return NO_ROOM, "soon"
        case UnreachableError():
            return SERVER_UNREACHABLE, "soon"
        case RefusedError():
            return _judged_refusal(action, error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return "DiskFull", "soon"
        case PermissionError() | OSError(errno=errno.EROFS):
            return "Denied", "soon"
        case UnicodeError():
            return "BadConfig", "late"
        case _:
            return "IoError", "soon"


def _judged_refusal(action: Action, error: RefusedError) -> tuple[str, Retry]:
    if error.status in (401, 403):
        return "Denied", "late"
    if isinstance(action, Load):
        return OUT_OF_MEMORY if is_out_of_memory(str(error)) else "LoadRefused", error.retry
    # It keeps memory that others wait for, so what may pass is asked again soon.
    return "UnloadRefused", "soon" if error.status >= 500 else error.retry
