"""What came of an action, and what is known of a model afterwards. PURE."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import assert_never

from agent.actions import Action
from agent.errors import (
    Retry,
)
from agent.observed import (
    CRASHES_SERVER,
    MOST_CRASHES,
    NO_ROOM,
    NOTHING,
    OUT_OF_MEMORY,
    PROBE_FAILED,
    UNLOAD_PATIENCE_S,
    Copy,
    FailedState,
    Failure,
    Probation,
    Seen,
)
from agent.records import Copies
from agent.servers.port import IndexRow

log = logging.getLogger(__name__)

SERVER_UNREACHABLE = "ServerUnreachable"
NOT_KEPT = "NotKept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A copy is staged."""

    copy: Copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A staged copy is in the repository, and the former one beside it if that was kept."""

    copy: Copy
    former: Copy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stowed:
    """A copy is out of the repository and staged.

    Parameters
    ----------
    copy
        That one.
    installed
        The former copy that has taken its place again; None where there was none.
    unsure
        Whether a server that is starting may have taken it up before.
    """

    copy: Copy
    installed: Copy | None = None
    unsure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The model serves where it should.

    Parameters
    ----------
    copy, seconds
        What serves, and how long it took.
    update
        Whether it is the fetched copy that took the place of an older one.
    """

    copy: Copy
    seconds: float
    update: bool = False


@dataclass(frozen=True, slots=True)
class UnloadAsked:
    """The server has accepted an unload."""


@dataclass(frozen=True, slots=True)
class Removed:
    """No copy is left."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """No staged copy is left, and no former one."""


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
    update
        Whether a copy should have come in place of an older one, which is in the repository (again).
    hung
        Whether it was a load that the server took and did not answer in time.
    broken
        Whether it was a load during which the connection broke.
    copies
        What lies where after a load; None where nothing has changed.
    """

    state: FailedState
    reason: str
    message: str
    retry: Retry
    update: bool = False
    hung: bool = False
    broken: bool = False
    copies: Copies | None = None


Outcome = Downloaded | Installed | Stowed | Loaded | UnloadAsked | Removed | Discarded | Dropped | Failed


def not_answering(fault: str) -> Failed:
    """Return what has become of a loaded model that does not answer. PURE."""
    return Failed(state="FailedToLoad", reason=PROBE_FAILED, message=fault, retry="late")


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
            return replace(seen, staged=copy, failure=None, setback=_setback_after_download(seen))
        case Installed(copy=copy, former=former):
            setback = None if former is None else seen.setback
            return replace(_with_other_files(seen), installed=copy, former=former, setback=setback)
        case Stowed():
            return _after_stow(seen, outcome)
        case Loaded():
            return _after_load(seen, outcome, now_s=now_s)
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
            return replace(seen, staged=None, former=None, failure=None)
        case Dropped():
            return seen
        case Failed():
            return _after_failure(seen, outcome, retry_at_s=now_s + wait_s)
        case _:
            assert_never(outcome)


def _setback_after_download(seen: Seen) -> Failure | None:
    """Return what a wanted copy has failed at beside its download, which has succeeded now."""
    of_load = seen.setback is not None and seen.setback.state == "FailedToLoad"
    return seen.setback if of_load else None


def _with_other_files(seen: Seen) -> Seen:
    """Return what is known of a model that the server does not hold, without what its files were."""
    return replace(seen, installed=None, staged=None, former=None, row=None, failure=None, probation=None)


def _after_stow(seen: Seen, outcome: Stowed) -> Seen:
    # What the server may have died of is not forgotten with the place of its files.
    failure = seen.failure if seen.crashes and seen.failure and seen.failure.state == "FailedToLoad" else None
    back = outcome.installed is not None
    return replace(
        _with_other_files(seen),
        staged=outcome.copy,
        installed=outcome.installed,
        failure=None if back else failure,
        setback=failure if back else None,
        unsure=outcome.unsure or seen.unsure,
    )


def blamed(seen: Seen, *, now_s: float, wait_s: float) -> Seen:
    """Return what is known of a model during whose load the server has died. PURE.

    Parameters
    ----------
    seen
        What was known before.
    now_s, wait_s
        The time, and how long it is held out if it was not for the first time.
    """
    crashes = seen.crashes + 1
    dead = replace(seen, row=None, unsure=False, suspect=False, crashes=crashes)
    if crashes < MOST_CRASHES:
        return dead
    met = f" ({seen.failure.message})" if seen.failure is not None else ""
    failure = Failure(
        state="FailedToLoad",
        reason=CRASHES_SERVER,
        message=f"the server died during its load {crashes} times in a row, the last time with no other{met}",
        attempts=crashes,
        retry_at_s=now_s + wait_s,
        retry="rarely",
    )
    return replace(dead, failure=failure)


def _after_load(seen: Seen, outcome: Loaded, *, now_s: float) -> Seen:
    # An older copy may be loaded while the newer one is staged and waits for another try.
    updated = outcome.update or seen.former is not None
    tries = seen.setback.attempts if updated and seen.setback is not None else 0
    return replace(
        seen,
        installed=outcome.copy,
        staged=None if outcome.update else seen.staged,
        former=None,
        row=IndexRow("READY"),
        failure=None,
        setback=None if updated else seen.setback,
        load_seconds=outcome.seconds,
        unsure=False,
        suspect=False,
        crashes=seen.crashes if not updated and seen.setback is not None else 0,
        probation=Probation(since_s=now_s, attempts=max(tries, failed_tries(seen, "FailedToLoad"))),
    )


def _after_failure(seen: Seen, outcome: Failed, *, retry_at_s: float) -> Seen:
    failure = Failure(
        state=outcome.state,
        reason=outcome.reason,
        message=outcome.message,
        attempts=failed_tries(seen, outcome.state, update=outcome.update) + 1,
        retry_at_s=retry_at_s,
        retry=outcome.retry,
        hung=_hung_tries(seen, outcome),
        short=_short_tries(seen, outcome),
    )
    if outcome.copies is not None:
        copies = outcome.copies
        seen = replace(seen, installed=copies.installed, staged=copies.staged, former=copies.former)
    if outcome.update:
        return replace(seen, failure=None, setback=failure)
    of_load = outcome.state == "FailedToLoad"
    return replace(
        seen,
        failure=failure,
        unsure=seen.unsure or (of_load and outcome.reason == SERVER_UNREACHABLE),
        suspect=outcome.broken,
        probation=None if of_load else seen.probation,  # the tries before the load are in the failure now
    )


def _hung_tries(seen: Seen, outcome: Failed) -> int:
    before = 0 if seen.failure is None else seen.failure.hung
    return before + 1 if outcome.hung else 0


def _short_tries(seen: Seen, outcome: Failed) -> int:
    before = seen.setback if outcome.update else seen.failure
    tries = 0 if before is None else before.short
    return tries + 1 if outcome.reason in (NO_ROOM, OUT_OF_MEMORY) else 0


def _still_sick(seen: Seen, *, now_s: float) -> Failure | None:
    """Return the failure of a model that is unloaded because it does not answer: it is loaded again soon."""
    failure = seen.failure
    if failure is None or failure.reason != PROBE_FAILED:
        return None
    return replace(failure, retry_at_s=now_s + UNLOAD_PATIENCE_S)


def failed_tries(seen: Seen, state: FailedState, *, update: bool = False) -> int:
    """Return how many tries in a row have failed before one that would fail with a state. PURE.

    Parameters
    ----------
    seen, state
        What is known of the model, and the state.
    update
        Whether they are those of a copy that an older one stands in for.
    """
    if update:
        return 0 if seen.setback is None else seen.setback.attempts
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
