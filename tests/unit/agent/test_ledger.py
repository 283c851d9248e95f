from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from agent.actions import Action, Download, rank
from agent.ledger import Ledger, Look, Waiting
from agent.observed import NOTHING, Absence, Failure, Probation, Seen
from agent.servers.port import IndexRow
from tests.support.agent_models import URI, copy, install, on_gpu, row, target

M = target()
SERVES = Seen(installed=copy(loaded_on=M), row=row("READY"))
READY = {"m": IndexRow("READY")}


def look(rows: dict[str, IndexRow], folders: Iterable[str] = ("m",), began_s: float = 10.0) -> Look:
    return Look(rows=rows, folders=frozenset(folders), began_s=began_s)


def ledger(seen: Seen = SERVES) -> Ledger:
    made = Ledger({"m": seen})
    made.aim({"m": M}, now_s=0.0, wall_s=0.0)
    return made


def ordered(queue: Waiting) -> list[Action]:
    return sorted((action for actions in queue.queues for action in actions), key=rank)


def waiting(made: Ledger) -> list[str]:
    return [f"{type(action).__name__} {action.name}" for action in ordered(made.waiting)]


def test_a_server_that_forgot_everything_is_another_process_and_is_filled_again() -> None:
    made = ledger()
    assert not made.look(look(READY), now_s=11.0, wall_s=11.0)
    assert waiting(made) == []
    assert made.look(look({}), now_s=12.0, wall_s=12.0)
    assert waiting(made) == ["Load m"]


def test_a_new_server_process_ends_the_wait_after_a_failure() -> None:
    failure = Failure(
        state="FailedToLoad", reason="LoadRefused", message="x", attempts=9, retry_at_s=10_000.0
    )
    made = Ledger({"m": SERVES, "bad": Seen(installed=copy(), failure=failure)})
    made.targets = {"m": M, "bad": target("bad")}
    made.look(look(READY, ("m", "bad")), now_s=11.0, wall_s=11.0)
    assert waiting(made) == []
    assert made.look(look({}, ("m", "bad")), now_s=12.0, wall_s=12.0)
    assert waiting(made) == ["Load bad", "Load m"]


DROPPED = {"m": IndexRow("UNAVAILABLE", "the worker died")}


def on_probation(since_s: float = 9.0) -> Ledger:
    made = ledger(Seen(installed=copy()))
    made.finish("m", replace(SERVES, probation=Probation(since_s=since_s)), now_s=since_s, wall_s=since_s)
    return made


def test_a_model_that_is_dropped_soon_after_its_load_is_lost() -> None:
    made = on_probation()
    assert made.lost(look(READY)) == {}
    assert made.lost(look({})) == {}
    assert made.lost(look(DROPPED)) == DROPPED


def test_a_look_from_before_the_load_says_nothing_of_it() -> None:
    assert on_probation(since_s=11.0).lost(look(DROPPED, began_s=10.0)) == {}


def test_what_is_not_wanted_any_more_is_not_lost() -> None:
    made = on_probation()
    made.aim({}, now_s=10.0, wall_s=10.0)
    assert made.lost(look(DROPPED)) == {}


def test_a_model_that_has_served_for_long_is_loaded_again_at_once() -> None:
    made = on_probation()
    made.look(look(READY, began_s=10.0), now_s=68.0, wall_s=68.0)
    assert made.lost(look(DROPPED, began_s=68.5)) == DROPPED
    made.look(look(READY, began_s=69.0), now_s=69.0, wall_s=69.0)
    assert made.lost(look(DROPPED, began_s=70.0)) == {}
    made.look(look(DROPPED, began_s=70.0), now_s=71.0, wall_s=71.0)
    assert waiting(made) == ["Load m"]


def test_a_new_server_process_or_document_ends_the_probation() -> None:
    made = on_probation()
    assert made.look(look({}), now_s=11.0, wall_s=11.0)
    assert made.seen("m").probation is None
    made = on_probation()
    made.aim({"m": target(devices=on_gpu(1))}, now_s=11.0, wall_s=11.0)
    assert made.seen("m").probation is None


def test_another_process_is_seen_though_a_new_model_was_loaded_on_it_already() -> None:
    made = ledger()
    made.aim({"m": M, "new": target("new")}, now_s=1.0, wall_s=1.0)
    made.finish("new", SERVES, now_s=11.0, wall_s=11.0)
    rows = {"new": IndexRow("READY")}
    assert made.look(look(rows, ("m", "new"), began_s=12.0), now_s=13.0, wall_s=13.0)
    assert waiting(made) == ["Load m"]


def test_a_ready_model_whose_folder_somebody_deleted_is_no_new_process() -> None:
    made = ledger()
    assert not made.look(look({}, ()), now_s=11.0, wall_s=11.0)


def test_a_failure_outlives_a_document_that_asks_for_the_same() -> None:
    """Else every change of another model would fetch a model again that is refused for its size."""
    failure = Failure(state="DownloadFailed", reason="TooLarge", message="x", attempts=3, retry_at_s=10_000.0)
    made = Ledger({})
    made.aim({"m": M}, now_s=0.0, wall_s=0.0)
    made.finish("m", Seen(failure=failure), now_s=1.0, wall_s=1.0)
    made.aim({"m": M, "new": target("new")}, now_s=2.0, wall_s=2.0)
    assert waiting(made) == ["Download new"]
    made.aim({"m": target(storage_uri="file:///elsewhere")}, now_s=3.0, wall_s=3.0)
    assert waiting(made) == ["Download m"]


def test_nothing_is_kept_of_models_that_came_and_went() -> None:
    made = Ledger({})
    for number in range(100):
        name = f"m{number}"
        made.aim({name: target(name)}, now_s=number, wall_s=number)
        made.finish(name, NOTHING, now_s=number, wall_s=number)
    made.aim({}, now_s=100.0, wall_s=100.0)
    made.look(look({}, (), began_s=101.0), now_s=102.0, wall_s=102.0)
    kept = {name: value for name, value in vars(made).items() if isinstance(value, dict | set) and value}
    assert kept == {}


def test_what_changed_since_a_look_began_is_newer_than_the_look() -> None:
    made = ledger(Seen(installed=copy()))
    made.finish("m", SERVES, now_s=20.0, wall_s=20.0)
    made.look(look({}, began_s=19.0), now_s=21.0, wall_s=21.0)
    assert made.seen("m") == SERVES
    made.look(look({}, began_s=22.0), now_s=23.0, wall_s=23.0)
    assert made.seen("m").row is None


def test_what_is_being_done_is_not_overwritten_by_a_look() -> None:
    made = ledger(Seen(staged=copy()))
    made.start(install(target()), wall_s=0.0)
    made.look(look({}, ("m",)), now_s=11.0, wall_s=11.0)
    assert made.seen("m").installed is None


def test_a_folder_that_somebody_deleted_is_fetched_again() -> None:
    made = ledger()
    made.look(look({}, ()), now_s=11.0, wall_s=11.0)
    assert waiting(made) == ["Download m"]


def test_without_a_server_only_files_are_worked_on() -> None:
    made = Ledger({"m": Seen(installed=copy())})
    made.aim({"m": M, "new": target("new")}, now_s=0.0, wall_s=0.0)
    made.look(look({}), now_s=11.0, wall_s=11.0)
    assert waiting(made) == ["Load m", "Download new"]
    made.lose_server(now_s=12.0)
    assert waiting(made) == ["Download new"]


def test_a_new_aim_ends_the_wait_after_a_failure() -> None:
    failure = Failure(state="DownloadFailed", reason="NotFound", message="x", attempts=3, retry_at_s=10_000.0)
    made = ledger(Seen(failure=failure))
    assert waiting(made) == ["Download m"]


def test_devices_are_held_back_until_the_unload_is_confirmed() -> None:
    gpu = target(devices=on_gpu(3))
    made = Ledger({"m": Seen(installed=copy(loaded_on=gpu), row=row("READY"))})
    made.finish(
        "m",
        Seen(installed=copy(loaded_on=gpu), row=row("UNLOADING"), unload_asked_at_s=5.0),
        now_s=5.0,
        wall_s=5.0,
    )
    assert made.freeing(10.0) == {"gpu:3": "m"}
    made.look(look({"m": IndexRow("UNAVAILABLE", "unloaded")}), now_s=11.0, wall_s=11.0)
    assert made.freeing(11.0) == {}


def test_other_models_do_not_wait_for_an_unload_that_never_ends() -> None:
    """As Triton's of a python model whose process has died, which nobody wants any more."""
    gpu = target(devices=on_gpu(3))
    dead = Seen(installed=copy(loaded_on=gpu), row=row("UNLOADING"), unload_asked_at_s=5.0)
    made = Ledger({"dead": dead, "m": Seen(installed=copy())})
    made.aim({"m": gpu}, now_s=5.0, wall_s=5.0)
    rows = {"dead": IndexRow("UNLOADING")}
    for at_s, freeing in ((34.9, {"gpu:3": "dead"}), (35.0, {}), (86_400.0, {})):
        made.look(look(rows, ("dead", "m"), began_s=at_s), now_s=at_s, wall_s=at_s)
        assert (made.freeing(at_s), made.unloading(at_s)) == (freeing, bool(freeing))
    assert waiting(made) == ["Load m"]


def test_ready_just_after_an_unload_was_asked_is_an_index_that_lags() -> None:
    asked = Seen(installed=copy(loaded_on=M), row=row("UNLOADING"), unload_asked_at_s=10.0)
    made = Ledger({"m": asked})
    made.look(look(READY, began_s=10.5), now_s=10.6, wall_s=0.0)
    assert made.unloading(10.6)
    assert waiting(made) == []
    made.look(look(READY, began_s=13.0), now_s=13.1, wall_s=0.0)
    assert waiting(made) == ["Unload m"]


def test_an_unload_of_an_earlier_run_that_never_ends_does_not_keep_a_model_from_being_loaded() -> None:
    made = Ledger({"m": Seen(installed=copy(loaded_on=M), unsure=True)})
    made.aim({"m": M}, now_s=0.0, wall_s=0.0)
    rows = {"m": IndexRow("UNLOADING")}
    for at_s, expected in ((1.0, []), (30.5, []), (31.0, ["Load m"])):
        made.look(look(rows, began_s=at_s), now_s=at_s, wall_s=at_s)
        assert waiting(made) == expected


def test_the_time_of_a_state_is_that_of_its_beginning() -> None:
    made = ledger(Seen(installed=copy()))
    made.finish("m", SERVES, now_s=1.0, wall_s=1.0)
    made.look(look(READY), now_s=11.0, wall_s=11.0)
    _, _, since = made.copies()
    assert since == {"m": ("Loaded", 1.0)}


def test_a_model_that_is_not_desired_any_more_and_was_never_touched_is_forgotten() -> None:
    made = ledger()
    made.aim({"m": M, "new": target("new")}, now_s=1.0, wall_s=1.0)
    made.aim({"m": M}, now_s=2.0, wall_s=2.0)
    _, _, since = made.copies()
    assert list(since) == ["m"]


def test_waiting_holds_one_action_a_model_in_order() -> None:
    queue = Waiting()
    late = Download(name="a", storage_uri=URI, urgency=(2, 0))
    soon = Download(name="a", storage_uri=URI, urgency=(0, 0))
    other = Download(name="b", storage_uri=URI, urgency=(1, 0))
    for action in (late, other, soon):
        queue.put(action.name, action)
    assert [list(actions) for actions in queue.queues] == [[soon, other]]
    queue.put("a", late)
    assert ordered(queue) == [other, late]
    queue.take([other])
    queue.put("a", None)
    assert list(queue.queues) == []
    assert len(queue) == 0


def test_an_equal_look_at_a_world_at_rest_is_not_gone_through_again() -> None:
    made = ledger()
    made.aim({"m": M}, now_s=1.0, wall_s=1.0)
    seen = look({"m": IndexRow("READY")}, began_s=12.0)
    made.look(seen, now_s=13.0, wall_s=13.0)
    assert not made.look(replace(seen, began_s=14.0), now_s=15.0, wall_s=15.0)
    assert made.look(look({}, began_s=16.0), now_s=17.0, wall_s=17.0)
    assert waiting(made) == ["Load m"]


def test_an_equal_look_tells_of_what_was_lost_and_came_back() -> None:
    made = ledger()
    made.aim({"m": M}, now_s=1.0, wall_s=1.0)
    seen = look({"m": IndexRow("READY")}, began_s=12.0)
    made.look(seen, now_s=13.0, wall_s=13.0)
    made.lose_server(now_s=14.0)
    made.look(replace(seen, began_s=15.0), now_s=16.0, wall_s=16.0)
    assert made.server_live


def test_an_equal_look_ends_the_probation_of_a_model() -> None:
    made = on_probation(since_s=10.0)
    rows = {"m": IndexRow("READY")}
    made.look(look(rows, began_s=12.0), now_s=13.0, wall_s=13.0)
    assert made.seen("m").probation is not None
    made.look(look(rows, began_s=112.0), now_s=113.0, wall_s=113.0)
    assert made.seen("m").probation is None


def test_what_is_loaded_or_waits_as_asked_is_served() -> None:
    made = Ledger({"m": SERVES, "kept": Seen(staged=copy())})
    targets = {"m": M, "kept": target("kept", state="standby"), "absent": target("absent")}
    made.aim(targets, now_s=0.0, wall_s=0.0)
    assert (made.served, made.attempted) == (2, 2)
    refused = Failure(state="FailedToLoad", reason="LoadRefused", message="x", attempts=1, retry_at_s=9e9)
    made.finish("absent", Seen(installed=copy(), failure=refused), now_s=1.0, wall_s=1.0)
    assert (made.served, made.attempted) == (2, 3)
    made.finish("absent", SERVES, now_s=2.0, wall_s=2.0)
    assert made.served == 3
    made.aim({"m": M}, now_s=3.0, wall_s=3.0)
    assert (made.served, made.attempted) == (1, 1)


SUSPECT = Seen(
    installed=copy(),
    suspect=True,
    failure=Failure(
        state="FailedToLoad", reason="ServerUnreachable", message="x", attempts=1, retry_at_s=0.0
    ),
)


def test_a_suspicion_ends_with_a_look_that_began_after_it() -> None:
    made = ledger(Seen(installed=copy()))
    made.finish("m", SUSPECT, now_s=10.0, wall_s=10.0)
    made.acquit(look({}, began_s=9.0))
    assert made.suspects() == ("m",)
    made.acquit(look({}, began_s=10.5))
    assert made.suspects() == ()


def test_another_document_clears_a_model_of_what_the_server_died_of() -> None:
    made = ledger(Seen(installed=copy()))
    made.finish("m", replace(SUSPECT, crashes=2), now_s=10.0, wall_s=10.0)
    made.aim({"m": target(storage_uri="file:///repaired")}, now_s=11.0, wall_s=11.0)
    assert (made.suspects(), made.seen("m").crashes) == ((), 0)


def test_another_process_does_not_clear_it() -> None:
    crashed = Failure(
        state="FailedToLoad", reason="CrashesServer", message="x", attempts=2, retry_at_s=10_000.0
    )
    made = Ledger({"m": SERVES, "bad": Seen(staged=copy(), failure=crashed, crashes=2)})
    made.targets = {"m": M, "bad": target("bad")}
    made.look(look(READY), now_s=11.0, wall_s=11.0)
    assert made.look(look({}), now_s=12.0, wall_s=12.0)
    assert (made.seen("bad").failure, waiting(made)) == (crashed, ["Load m"])


def test_what_nobody_wants_leaves_a_server_that_is_not_there_and_not_one_that_is_slow() -> None:
    made = Ledger({"m": SERVES})
    made.aim({}, now_s=0.0, wall_s=0.0)
    made.look(look(READY), now_s=11.0, wall_s=11.0)
    made.lose_server(now_s=12.0)
    assert waiting(made) == []
    made.lose_server(now_s=13.0, absence=Absence.SEEN)
    assert waiting(made) == []
    made.lose_server(now_s=14.0, absence=Absence.LASTING)
    assert waiting(made) == ["Stow m"]
    made.lose_server(now_s=15.0)  # somebody listens again, and is slow
    assert waiting(made) == []
