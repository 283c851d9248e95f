"""What the ledger counts as attempted is, after anything that can happen, what the definition says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.actions import Download
from agent.ledger import Ledger, Look
from agent.observed import NOTHING, Failure, Seen
from agent.servers.port import IndexRow
from agent.status import attempted
from tests.support.agent_models import URI, copy, row, target

NAMES = ("a", "b", "c")
_FAILURES = tuple(
    Failure(state="FailedToLoad", reason=reason, message="x", attempts=attempts, retry_at_s=0.0)
    for reason, attempts in (("LoadRefused", 1), ("ServerUnreachable", 1), ("ServerUnreachable", 3))
)
_SEEN = (
    NOTHING,
    Seen(installed=copy()),
    Seen(installed=copy("file:///other"), row=row("READY")),
    Seen(installed=copy(), row=row("READY")),
    Seen(installed=copy(), row=row("UNLOADING"), unload_asked_at_s=0.0),
    Seen(staged=copy()),
    *(Seen(installed=copy(), failure=failure) for failure in _FAILURES),
)
_names = st.sampled_from(NAMES)
_states = st.sampled_from(("READY", "LOADING", "UNAVAILABLE"))
events = st.one_of(
    st.tuples(st.just("aim"), st.dictionaries(_names, st.sampled_from(("resident", "standby")))),
    st.tuples(st.just("start"), _names),
    st.tuples(st.just("finish"), _names, st.sampled_from(_SEEN)),
    st.tuples(st.just("look"), st.dictionaries(_names, _states), st.frozensets(_names)),
    st.tuples(
        st.just("lose"),
    ),
)


def happen(ledger: Ledger, event: tuple[object, ...], now_s: float) -> None:
    match event:
        case ("aim", dict() as wanted):
            targets = {name: target(name, state=state) for name, state in wanted.items()}
            ledger.aim(targets, now_s=now_s, wall_s=now_s)
        case ("start", str() as name) if name not in ledger.running:
            ledger.start(Download(name=name, storage_uri=URI, urgency=(0, 0)), wall_s=now_s)
        case ("finish", str() as name, Seen() as seen):
            ledger.finish(name, seen, now_s=now_s, wall_s=now_s)
        case ("look", dict() as states, frozenset() as folders):
            rows = {name: IndexRow(state) for name, state in states.items()}
            ledger.look(Look(rows=rows, folders=folders, began_s=now_s), now_s=now_s, wall_s=now_s)
        case ("lose",):
            ledger.lose_server(now_s=now_s)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_names, st.sampled_from(_SEEN[1:])), st.lists(events, max_size=25))
def test_as_many_are_attempted_as_the_definition_says(
    models: dict[str, Seen], history: list[tuple[object, ...]]
) -> None:
    ledger = Ledger(models)
    for number, event in enumerate(history):
        happen(ledger, event, float(number))
        expected = sum(attempted(one, ledger.seen(name)) for name, one in ledger.targets.items())
        assert ledger.attempted == expected
