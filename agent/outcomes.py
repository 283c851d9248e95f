"""Carry out one action, and say what came of it; what is known afterwards is a pure function of that."""

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
    NoRoomError,
    PinError,
    ProbeError,
    RefusedError,
    Retry,
    ServerError,
    StorageError,
    SupersededError,
    UnreachableError,
)
from agent.observed import (
    NOTHING,
    PROBE_FAILED,
    UNLOAD_PATIENCE_S,
    Copy,
    FailedState,
    Failure,
    Probation,
    Seen,
)
from agent.repository import Repository
from agent.servers.port import IndexRow, ModelServer

log = logging.getLogger(__name__)

SERVER_UNREACHABLE = "ServerUnreachable"
NOT_KEPT = "NotKept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A copy is staged."""

    copy: Copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A staged copy is in the repository."""

    copy: Copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Stowed:
    """A copy is out of the repository and staged."""

    copy: Copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The model serves where it should."""

    copy: Copy
    seconds: float


@dataclass(frozen=True, slots=True)
class UnloadAsked:
    """The server has accepted an unload."""


@dataclass(frozen=True, slots=True)
class Removed:
    """No copy is left."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """No staged copy is left."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The action ended early because a newer document does not ask for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The action failed.

    Parameters
    ----------
    state, reason, message, retry
        As of a `Failure`.
    pin_forgotten
        Whether it was a load that got so far that the pin in the model's config may be another than before.
    """

    state: FailedState
    reason: str
    message: str
    retry: Retry
    pin_forgotten: bool = False


Outcome = Downloaded | Installed | Stowed | Loaded | UnloadAsked | Removed | Discarded | Dropped | Failed


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
        return replace(_failed(action, error), pin_forgotten=_forgets_pin(action, site))


def _forgets_pin(action: Action, site: Site) -> bool:
    """Return whether a failed action has left a copy in the repository of which the pin is not known."""
    if not isinstance(action, Load):
        return False
    try:
        return not site.repository.knows_pin(action.name)
    except OSError:
        return True  # at worst it is loaded once more


def unexpected(action: Action, error: Exception) -> Failed:
    """Return what has come of an action that ended in a fault of the agent's own. PURE."""
    forgets = isinstance(action, Load)
    return Failed(
        state="FailedToLoad", reason="Internal", message=repr(error), retry="late", pin_forgotten=forgets
    )


def _carry_out(  # noqa: PLR0911 - one a case
    action: Action, site: Site, unwanted: Callable[[], bool]
) -> Outcome:
    repository, server = site.repository, site.server
    match action:
        case Download(name=name, storage_uri=uri):
            return Downloaded(copy=repository.download(name, uri, unwanted=unwanted, seconds=site.seconds))
        case Install(name=name, pin=pin, framework=framework):
            return Installed(copy=repository.install(name, pin, framework, layout=server.layout))
        case Stow(name=name):
            return Stowed(copy=repository.stow(name))
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
            return Discarded()
        case _:
            assert_never(action)


def _load(load: Load, site: Site) -> Loaded:
    started_s = site.seconds()
    with site.room.held(load) as weighing:
        site.repository.place(load.name, load.pin, load.framework, layout=site.server.layout)
        site.server.load(load.name)
        taken = site.room.taken(weighing)
        _check(load.name, site)
    copy = site.repository.remember_loaded(load.name, load.pin, measured_bytes=taken)
    return Loaded(copy=copy, seconds=site.seconds() - started_s)


def _check(name: str, site: Site) -> None:
    """Refuse a model that does not answer, and take it from the server: loading it again would not help."""
    fault = find_fault(name, site)
    if fault is None:
        return
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


def not_answering(fault: str) -> Failed:
    """Return what has become of a loaded model that does not answer. PURE."""
    return Failed(state="FailedToLoad", reason=PROBE_FAILED, message=fault, retry="late")


def _failed(action: Action, error: Exception) -> Failed:
    reason, retry = _judged(action, error)
    return Failed(state=_failed_state(action, error), reason=reason, message=str(error), retry=retry)


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
            return "NoRoom", "soon"
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
        return "LoadRefused", error.retry
    # It keeps memory that others wait for, so what may pass is asked again soon.
    return "UnloadRefused", "soon" if error.status >= 500 else error.retry


def after(  # noqa: PLR0911 - one a case
    seen: Seen, outcome: Outcome, *, now_s: float, wait_s: float
) -> Seen:
    """Return what is known of a model after an action. PURE.

    Parameters
    ----------
    seen
        What was known before.
    outcome
        What came of the action.
    now_s, wait_s
        The time, and how long to wait if it failed.
    """
    match outcome:
        case Downloaded(copy=copy):
            return replace(seen, staged=copy, failure=None)
        case Installed(copy=copy):
            return replace(seen, installed=copy, staged=None, row=None, failure=None, probation=None)
        case Stowed(copy=copy):
            return replace(seen, installed=None, staged=copy, row=None, failure=None, probation=None)
        case Loaded(copy=copy, seconds=load_seconds):
            return replace(
                seen,
                installed=copy,
                row=IndexRow("READY"),
                failure=None,
                load_seconds=load_seconds,
                unsure=False,
                probation=Probation(since_s=now_s, attempts=failed_tries(seen, "FailedToLoad")),
            )
        case UnloadAsked():
            return replace(
                seen,
                row=IndexRow("UNLOADING"),
                unload_asked_at_s=now_s,
                failure=_still_sick(seen, now_s=now_s),
                unsure=False,
                probation=None,
            )
        case Removed():
            return NOTHING
        case Discarded():
            return replace(seen, staged=None, failure=None)
        case Dropped():
            return seen
        case Failed():
            return _after_failure(seen, outcome, retry_at_s=now_s + wait_s)
        case _:
            assert_never(outcome)


def _after_failure(seen: Seen, outcome: Failed, *, retry_at_s: float) -> Seen:
    failure = Failure(
        state=outcome.state,
        reason=outcome.reason,
        message=outcome.message,
        attempts=failed_tries(seen, outcome.state) + 1,
        retry_at_s=retry_at_s,
        retry=outcome.retry,
    )
    of_load = outcome.state == "FailedToLoad"
    return replace(
        seen,
        installed=_without_pin(seen.installed) if outcome.pin_forgotten else seen.installed,
        failure=failure,
        unsure=seen.unsure or (of_load and outcome.reason == SERVER_UNREACHABLE),
        probation=None if of_load else seen.probation,  # the tries before the load are in the failure now
    )


def _without_pin(copy: Copy | None) -> Copy | None:
    """Return a copy as its record has it since another pin was written: where it is loaded is not known."""
    return None if copy is None else replace(copy, loaded_pin=None)


def _still_sick(seen: Seen, *, now_s: float) -> Failure | None:
    """Return the failure of a model that is unloaded because it does not answer: it is loaded again soon."""
    failure = seen.failure
    if failure is None or failure.reason != PROBE_FAILED:
        return None
    return replace(failure, retry_at_s=now_s + UNLOAD_PATIENCE_S)


def failed_tries(seen: Seen, state: FailedState) -> int:
    """Return how many tries in a row have failed before one that would fail with a state. PURE."""
    if seen.failure is not None:
        return seen.failure.attempts
    if seen.probation is not None and state == "FailedToLoad":
        return seen.probation.attempts
    return 0


def not_kept(row: IndexRow) -> Failed:
    """Return what a load has come to that the server answered and did not keep. PURE."""
    message = row.reason or "the server has dropped the model soon after it said that it was loaded"
    return Failed(state="FailedToLoad", reason=NOT_KEPT, message=message, retry="late")


def tell(action: Action, outcome: Outcome) -> None:
    """Log what came of an action."""
    fields: dict[str, object] = {"action": type(action).__name__.lower(), "model": action.name}
    if isinstance(outcome, Failed):
        log.warning("an action failed", extra={**fields, "reason": outcome.reason, "error": outcome.message})
    elif isinstance(outcome, Loaded):
        log.info("a model is loaded", extra={**fields, "seconds": round(outcome.seconds, 3)})
    else:
        log.debug("an action is done", extra=fields)
