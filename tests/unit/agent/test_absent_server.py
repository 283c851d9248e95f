"""What becomes of models while no server is there, and of those that servers have died of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.actions import Action, Discard, Load, Stow, Unload, next_action
from agent.observed import Absence, Failure, Observed, Seen
from agent.outcomes import Installed, Loaded, Stowed, after, blamed
from agent.pins import Target
from tests.support.agent_models import copy, install, observed, row, target

M = target()
OTHER = "file:///models/other"
STANDBY = target(state="standby")
LOAD = Load(name="m", pin=M.pin, framework="sim", urgency=(0, 0)) if M.pin else None
INSTALL = install(M)
ASKED = Unload(name="m", devices=())
DISCARD = Discard(name="m")
SERVES = Seen(installed=copy(loaded_on=M), row=row("READY"))
FAILED = Failure(state="FailedToLoad", reason="x", message="x", attempts=1, retry_at_s=101.0)


def out(*, unsure: bool = True) -> Stow:
    return Stow(name="m", unsure=unsure)


CRASHED = Failure(
    state="FailedToLoad", reason="CrashesServer", message="x", attempts=2, retry_at_s=9_999.0, retry="rarely"
)
CULPRIT = Seen(installed=copy(loaded_on=M), failure=CRASHED, crashes=2)
UPDATE_CRASHED = Seen(
    installed=copy(), former=copy(OTHER, loaded_on=M), row=row("READY"), failure=FAILED, crashes=1
)
LEFT = Seen(staged=copy(), row=row("READY"), unsure=True)
SEEN, LASTING, ENDLESS = Absence.SEEN, Absence.LASTING, Absence.ENDLESS


@pytest.mark.parametrize(
    ("situation", "wanted", "seen", "absence", "step"),
    [
        ("slow is not gone", None, SERVES, Absence.UNKNOWN, None),
        ("one look may be that of a moment", None, SERVES, SEEN, None),
        ("what nobody wants leaves", None, SERVES, LASTING, out()),
        ("also where its load was on its way", None, replace(SERVES, unsure=True), LASTING, out()),
        ("but not what is not the agent's", None, Seen(installed=copy(None)), LASTING, None),
        (
            "it is kept until a server has told",
            None,
            Seen(staged=copy(), unsure=True),
            LASTING,
            None,
        ),
        ("a standby leaves", STANDBY, SERVES, LASTING, out()),
        (
            "but not to lose its files",
            STANDBY,
            Seen(installed=copy(OTHER), staged=copy()),
            LASTING,
            None,
        ),
        ("what is wanted stays", M, Seen(installed=copy()), LASTING, None),
        ("until no start can take so long", M, Seen(installed=copy(loaded_on=M)), ENDLESS, out()),
        ("what the last process has served stays", M, SERVES, ENDLESS, None),
        ("not the version that should have followed", M, replace(SERVES, former=copy(OTHER)), ENDLESS, out()),
        ("nothing is put in its place", M, Seen(staged=copy(), unsure=True), ENDLESS, None),
        ("else a server would start with it", M, Seen(staged=copy(), unsure=True), LASTING, INSTALL),
        (
            "what it died of leaves at once",
            M,
            replace(CULPRIT, failure=FAILED, crashes=1),
            SEEN,
            out(),
        ),
        ("and does not come back before the next", M, Seen(staged=copy(), crashes=1), LASTING, None),
        ("a version that it died of gives way", M, UPDATE_CRASHED, SEEN, out()),
        (
            "the older one stays",
            M,
            replace(UPDATE_CRASHED, installed=copy(OTHER), former=None),
            SEEN,
            None,
        ),
        (
            "what cannot be moved waits",
            M,
            replace(CULPRIT, failure=replace(FAILED, state="Unloading")),
            SEEN,
            None,
        ),
    ],
)
def test_what_leaves_the_repository_while_nobody_listens(
    situation: str, wanted: Target | None, seen: Seen, absence: Absence, step: Action | None
) -> None:
    world = Observed(models={"m": seen}, server_live=False, absence=absence, now_s=100.0)
    assert next_action("m", wanted, world) == step


@pytest.mark.parametrize(
    ("situation", "wanted", "seen", "step"),
    [
        ("it is held out", M, CULPRIT, out(unsure=False)),
        ("unless the server holds it", M, replace(CULPRIT, row=row("READY")), None),
        ("or may hold it", M, replace(CULPRIT, unsure=True), None),
        ("and waits outside", M, Seen(staged=copy(), failure=CRASHED, crashes=2), None),
        ("after its wait it comes back", M, Seen(staged=copy(), crashes=2), INSTALL),
        (
            "and is loaded alone",
            M,
            replace(CULPRIT, failure=None),
            replace(LOAD, crashes=2) if LOAD else None,
        ),
        ("what left while a server started is unloaded if it is there", None, LEFT, ASKED),
        ("before its files are deleted", None, replace(LEFT, unsure=False, row=None), DISCARD),
        ("a standby likewise", STANDBY, LEFT, ASKED),
        ("what is wanted is unloaded as well, and installed anew", M, LEFT, ASKED),
        ("or only installed", M, replace(LEFT, row=None), INSTALL),
    ],
)
def test_what_becomes_of_it_on_the_next_server(
    situation: str, wanted: Target | None, seen: Seen, step: Action | None
) -> None:
    assert next_action("m", wanted, observed({"m": seen})) == step


def test_who_is_blamed_twice_is_held_out_and_a_load_clears_it() -> None:
    suspect = Seen(installed=copy(loaded_on=M), failure=FAILED, unsure=True, suspect=True)
    once = blamed(suspect, now_s=10.0, wait_s=3600.0)
    assert once == replace(suspect, unsure=False, suspect=False, crashes=1)
    twice = blamed(replace(once, suspect=True, unsure=True), now_s=20.0, wait_s=3600.0)
    assert twice.failure is not None
    assert (twice.failure.reason, twice.failure.retry) == ("CrashesServer", "rarely")
    assert (twice.failure.retry_at_s, twice.crashes) == (3620.0, 2)
    stowed = after(twice, Stowed(copy=copy()), now_s=21.0, wait_s=0.0)
    assert (stowed.installed, stowed.staged, stowed.failure) == (None, copy(), twice.failure)
    back = after(replace(stowed, failure=None), Installed(copy=copy()), now_s=30.0, wait_s=0.0)
    assert back.crashes == 2
    assert after(back, Loaded(copy=copy(), seconds=1.0), now_s=31.0, wait_s=0.0).crashes == 0
