"""New documents are taken up model by model: what follows is what it would be if all were decided anew."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.actions import Action, rank
from agent.ledger import Ledger, Look
from agent.observed import Failure, Seen
from agent.servers.port import IndexRow
from agent.status import attempted, state_of
from tests.support.agent_models import URI, copy, on_gpu, row, target

NAMES = ("a", "b", "c")
OTHER = "file:///models/other"
_FAILED = Failure(state="FailedToLoad", reason="LoadRefused", message="x", attempts=2, retry_at_s=1e9)
_SEEN = (
    Seen(installed=copy()),
    Seen(installed=copy(), row=row("READY")),
    Seen(installed=copy(loaded_on=target()), row=row("READY")),
    Seen(installed=copy(OTHER, loaded_on=target()), row=row("READY")),
    Seen(installed=copy(OTHER), staged=copy(), row=row("READY"), setback=_FAILED),
    Seen(installed=copy(), row=row("UNLOADING"), unload_asked_at_s=0.0),
    Seen(installed=copy(), failure=_FAILED),
    Seen(staged=copy()),
    Seen(installed=copy(), unsure=True),
)
_names = st.sampled_from(NAMES)
_wanted = st.tuples(
    st.sampled_from((URI, OTHER)),
    st.sampled_from(((0,), (1,), (0, 1))),
    st.sampled_from(("resident", "standby")),
)
events = st.one_of(
    st.tuples(st.just("aim"), st.dictionaries(_names, _wanted)),
    st.tuples(st.just("start")),
    st.tuples(st.just("finish"), _names, st.sampled_from(_SEEN)),
    st.tuples(st.just("look"), st.dictionaries(_names, st.sampled_from(("READY", "UNAVAILABLE")))),
    st.tuples(st.just("lose")),
)


def happen(ledger: Ledger, event: tuple[object, ...], now_s: float) -> None:
    match event:
        case ("aim", dict() as wanted):
            targets = {
                name: target(name, storage_uri=uri, devices=on_gpu(*gpus), state=state)
                for name, (uri, gpus, state) in wanted.items()
            }
            ledger.aim(targets, now_s=now_s, wall_s=now_s)
        case ("start",):
            for action in waiting(ledger)[:1]:
                ledger.waiting.take([action])
                ledger.start(action, wall_s=now_s)
        case ("finish", str() as name, Seen() as seen):
            ledger.finish(name, seen, now_s=now_s, wall_s=now_s)
        case ("look", dict() as states):
            rows = {name: IndexRow(state) for name, state in states.items()}
            look = Look(rows=rows, folders=frozenset(ledger.models), began_s=now_s)
            ledger.look(look, now_s=now_s, wall_s=now_s)
        case ("lose",):
            ledger.lose_server(now_s=now_s)


def waiting(ledger: Ledger) -> list[Action]:
    return sorted((action for queue in ledger.waiting.queues for action in queue), key=rank)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_names, st.sampled_from(_SEEN)), st.lists(events, max_size=25))
def test_what_follows_is_what_would_follow_if_all_were_decided_anew(
    models: dict[str, Seen], history: list[tuple[object, ...]]
) -> None:
    ledger = Ledger({name: replace(seen, failure=None, setback=None) for name, seen in models.items()})
    for number, event in enumerate([("aim", {}), *history]):
        now_s = float(number)
        happen(ledger, event, now_s)
        if event[0] != "aim":
            continue
        followed = waiting(ledger)
        ledger.decide_all(now_s=now_s)
        assert waiting(ledger) == followed
        _, running, since = ledger.copies()
        for name, wanted in ledger.targets.items():
            assert since[name][0] == state_of(wanted, ledger.seen(name), running.get(name))
        expected = sum(attempted(wanted, ledger.seen(name)) for name, wanted in ledger.targets.items())
        assert ledger.attempted == expected
