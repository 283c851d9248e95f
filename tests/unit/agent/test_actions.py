"""One row a situation: what is seen and wanted of a model, and the next step."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from agent.actions import (
    Action,
    Discard,
    Download,
    Load,
    Remove,
    Stow,
    Unload,
    next_action,
    next_actions,
)
from agent.lanes import Lanes, admit
from agent.ledger import Waiting
from agent.observed import NOTHING, STUCK_UNLOAD_S, Failure, Observed, Seen
from agent.pins import Target
from tests.support.agent_models import URI, copy, install, observed, on_gpu, row, target

M = target()
OTHER = "file:///models/other"
STANDBY = target(state="standby")
MOVED = target(devices=on_gpu(1))
FAULTY = Target(model=M.model, pin=None)

DOWNLOAD = Download(name="m", storage_uri=URI, urgency=(0, 0))
LOAD = Load(name="m", pin=M.pin, framework="sim", urgency=(0, 0)) if M.pin else None
AGAIN = replace(LOAD, repeated=True) if LOAD else None
INSTALL = install(M)
MOVE = Load(name="m", pin=MOVED.pin, framework="sim", urgency=(0, 0)) if MOVED.pin else None
UNLOAD = Unload(name="m", devices=("cpu",))
ASKED = Unload(name="m", devices=())
SERVES = Seen(installed=copy(loaded_on=M), row=row("READY"))
OLD_SERVES = Seen(installed=copy(OTHER, loaded_on=M), row=row("READY"))
DISCARD = Discard(name="m")
INSTALL_NEWER = replace(INSTALL, update=True)
UPDATE = replace(LOAD, update=True) if LOAD else None
FAILED = Failure(state="FailedToLoad", reason="x", message="x", attempts=1, retry_at_s=101.0)


@pytest.mark.parametrize(
    ("situation", "wanted", "seen", "step"),
    [
        ("nothing anywhere", M, NOTHING, DOWNLOAD),
        ("fetched", M, Seen(staged=copy()), INSTALL),
        ("fetched, but something else", M, Seen(staged=copy(OTHER)), DOWNLOAD),
        ("installed, never loaded", M, Seen(installed=copy()), LOAD),
        ("loads", M, Seen(installed=copy(), row=row("LOADING")), None),
        ("serves as wanted", M, SERVES, None),
        ("serves with an unknown pin", M, Seen(installed=copy(), row=row("READY")), LOAD),
        ("serves on another device", MOVED, SERVES, MOVE),
        ("failed to load", M, Seen(installed=copy(), row=row("UNAVAILABLE")), LOAD),
        ("server lost it", M, Seen(installed=copy(loaded_on=M)), LOAD),
        ("unloads, wanted again", M, Seen(installed=copy(loaded_on=M), row=row("UNLOADING")), None),
        ("waits after a failure", M, Seen(installed=copy(), failure=FAILED), None),
        ("pin cannot be resolved", FAULTY, Seen(installed=copy()), None),
        ("a leftover is staged", M, Seen(installed=copy(loaded_on=M), staged=copy()), Discard(name="m")),
        ("folder of unknown origin", M, Seen(installed=copy(None)), DOWNLOAD),
        ("old copy serves", M, OLD_SERVES, replace(DOWNLOAD, update=True)),
        (
            "old copy serves, new one fetched",
            M,
            replace(OLD_SERVES, staged=copy()),
            UPDATE,
        ),
        (
            "somebody else's copy serves, new one fetched",
            M,
            Seen(installed=copy(None), staged=copy(), row=row("READY")),
            ASKED,
        ),
        ("old copy unloads", M, Seen(installed=copy(OTHER), staged=copy(), row=row("UNLOADING")), None),
        ("old copy is unloaded", M, Seen(installed=copy(OTHER), staged=copy()), INSTALL_NEWER),
        ("standby serves", STANDBY, SERVES, UNLOAD),
        ("standby is out of the repository", STANDBY, Seen(staged=copy()), None),
        ("standby, old copy there", STANDBY, Seen(installed=copy(OTHER), staged=copy()), INSTALL),
        ("standby is in the repository", STANDBY, Seen(installed=copy()), Stow(name="m")),
        ("standby, a load may be on its way", STANDBY, Seen(installed=copy(), unsure=True), ASKED),
        ("fetched, pin cannot be resolved", FAULTY, Seen(staged=copy()), None),
        ("unwanted, serves", None, SERVES, UNLOAD),
        ("unwanted, loads", None, Seen(installed=copy(), row=row("LOADING")), None),
        ("unwanted, unloads", None, Seen(installed=copy(), row=row("UNLOADING")), None),
        ("unwanted, unloaded", None, Seen(installed=copy(), row=row("UNAVAILABLE")), Remove(name="m")),
        ("unwanted, only fetched", None, Seen(staged=copy()), Discard(name="m")),
        ("unwanted, a load may be on its way", None, Seen(installed=copy(), unsure=True), ASKED),
        (
            "new one fetched, a load of the old may be on its way",
            M,
            Seen(installed=copy(OTHER), staged=copy(), unsure=True),
            ASKED,
        ),
        ("nothing installed that a load could find", M, Seen(staged=copy(), unsure=True), INSTALL),
        ("somebody else's folder", None, Seen(installed=copy(None)), None),
        ("somebody else's repository", None, Seen(row=row("READY")), None),
    ],
)  # fmt: skip
def test_next_step(situation: str, wanted: Target | None, seen: Seen, step: Action | None) -> None:
    assert next_action("m", wanted, observed({"m": seen})) == step


@pytest.mark.parametrize(
    ("situation", "wanted", "seen", "step"),
    [
        ("files are fetched without a server", M, NOTHING, DOWNLOAD),
        ("and installed where none is", M, Seen(staged=copy()), INSTALL),
        ("but not in place of one it may hold", M, Seen(installed=copy(OTHER), staged=copy()), None),
        ("nothing is loaded", M, Seen(installed=copy()), None),
        ("nothing is unloaded", None, Seen(installed=copy(), row=row("READY")), None),
        ("nothing is deleted", None, Seen(installed=copy()), None),
        ("no standby is moved out", STANDBY, Seen(installed=copy()), None),
    ],
)
def test_next_step_while_the_server_does_not_answer(
    situation: str, wanted: Target | None, seen: Seen, step: Action | None
) -> None:
    assert next_action("m", wanted, observed({"m": seen}, live=False)) == step


@pytest.mark.parametrize(
    ("situation", "wanted", "seen", "step"),
    [
        (
            "an old copy is put aside",
            M,
            Seen(installed=copy(OTHER), staged=copy()),
            INSTALL_NEWER,
        ),
        ("nothing is loaded", M, Seen(installed=copy()), None),
        ("what is not wanted is deleted", None, Seen(installed=copy()), Remove(name="m")),
        ("a standby is moved out", STANDBY, Seen(installed=copy()), Stow(name="m")),
    ],
)
def test_next_step_where_there_is_no_server(
    situation: str, wanted: Target | None, seen: Seen, step: Action | None
) -> None:
    world = Observed(models={"m": seen}, server_live=False, server_absent=True, now_s=100.0)
    assert next_action("m", wanted, world) == step


UPDATED = Seen(
    installed=replace(copy(), loaded_devices=("cpu",)), former=copy(OTHER, loaded_on=M), row=row("READY")
)
REFUSED = replace(OLD_SERVES, staged=copy(), setback=FAILED)
LOST = replace(REFUSED, row=None)


def short_of_room(attempts: int, *, reason: str = "NoRoom", short: int | None = None) -> Seen:
    short = attempts if short is None else short
    setback = replace(FAILED, reason=reason, attempts=attempts, short=short, retry_at_s=100.0)
    return replace(REFUSED, setback=setback)


@pytest.mark.parametrize(
    ("situation", "wanted", "seen", "step"),
    [
        ("a load of the new copy was not answered", M, replace(UPDATED, unsure=True), AGAIN),
        ("and something newer is wanted", target(storage_uri="file:///newest"), UPDATED, AGAIN),
        ("and it is not wanted any more", None, UPDATED, UNLOAD),
        (
            "the new copy serves, the former one is still there",
            M,
            replace(SERVES, former=copy()),
            Discard(name="m"),
        ),
        ("the new copy was refused", M, REFUSED, None),
        ("it was refused and the server has lost the old one", M, LOST, LOAD),
        ("also when its wait is over", M, replace(LOST, setback=replace(FAILED, retry_at_s=1.0)), LOAD),
        (
            "neither loads",
            M,
            replace(LOST, setback=replace(FAILED, retry_at_s=1.0), failure=replace(FAILED, retry_at_s=1.0)),
            INSTALL_NEWER,
        ),
        ("its wait is over", M, replace(REFUSED, setback=replace(FAILED, retry_at_s=100.0)), UPDATE),
        (
            "the new files were not had, and the wait is over",
            M,
            replace(OLD_SERVES, setback=replace(FAILED, retry_at_s=100.0, attempts=3)),
            replace(DOWNLOAD, update=True, attempts=3),
        ),
        ("old and new have no room together, three times", M, short_of_room(3), UPDATE),
        ("four times", M, short_of_room(4), UNLOAD),
        ("and the old one has left", M, replace(short_of_room(4), row=None), INSTALL_NEWER),
        ("five times", M, short_of_room(5), UPDATE),
        ("the server has had no memory for both, once", M, short_of_room(1, reason="OutOfMemory"), UPDATE),
        ("twice", M, short_of_room(2, reason="OutOfMemory"), UNLOAD),
        ("three times", M, short_of_room(3, reason="OutOfMemory"), UPDATE),
        ("the last of four failures alone was for want of room", M, short_of_room(4, short=1), UPDATE),
        (
            "the last of four alone for want of memory",
            M,
            short_of_room(4, reason="OutOfMemory", short=1),
            UPDATE,
        ),
        ("eight failures, the last four for want of room", M, short_of_room(8, short=4), UNLOAD),
        ("it was refused for another reason", M, short_of_room(4, reason="LoadRefused", short=0), UPDATE),
        ("it is refused and may not be known to serve", M, replace(REFUSED, installed=copy(OTHER)), LOAD),
        (
            "a pin that cannot be resolved takes nothing away",
            FAULTY,
            replace(OLD_SERVES, staged=copy()),
            None,
        ),
    ],
)
def test_next_step_of_an_update(
    situation: str, wanted: Target | None, seen: Seen, step: Action | None
) -> None:
    assert next_action("m", wanted, observed({"m": seen})) == step


@pytest.mark.parametrize(
    ("situation", "ordinals", "held", "step"),
    [
        ("where the old one is", (0,), (0,), Unload),
        ("on other devices, one of them of the old one", (1, 2), (0, 1), Unload),
        ("elsewhere, where there is no memory for it alone", (1,), (0,), Load),
        ("while nobody knows where the old one is", (1,), (), Unload),
        ("while it may be anywhere", (1,), None, Unload),
        ("wherever it finds room", None, (0,), Unload),
    ],
)
def test_an_old_copy_leaves_first_only_where_it_is_in_the_way(
    situation: str, ordinals: tuple[int, ...] | None, held: tuple[int, ...] | None, step: type[Action]
) -> None:
    wanted = target(devices=() if ordinals is None else on_gpu(*ordinals))
    before = target(devices=() if held is None else on_gpu(*held))
    old = copy(OTHER, loaded_on=before)
    old = old if held != () else replace(old, loaded_devices=())
    seen = replace(short_of_room(4), installed=old)
    assert isinstance(next_action("m", wanted, observed({"m": seen})), step)


def test_without_a_server_a_copy_that_could_not_be_had_is_fetched_again() -> None:
    due = replace(LOST, staged=None, setback=replace(FAILED, retry_at_s=1.0))
    step = next_action("m", M, observed({"m": due}, live=False))
    assert step == replace(DOWNLOAD, update=True, attempts=1)


def test_a_failure_is_retried_when_its_wait_is_over() -> None:
    seen = Seen(installed=copy(), failure=FAILED)
    assert next_action("m", M, observed({"m": seen}, now_s=100.9)) is None
    assert next_action("m", M, observed({"m": seen}, now_s=101.0)) == LOAD


def test_what_frees_room_comes_first_then_the_largest_load() -> None:
    targets = {
        "small": target("small", load_peak_bytes=1),
        "large": target("large", load_peak_bytes=9),
        "late": target("late", load_peak_bytes=99, order=1),
    }
    files = {name: Seen(installed=copy()) for name in targets}
    gone = Seen(installed=copy(), row=row("READY"))
    steps = next_actions(targets, observed({"gone": gone, **files}))
    assert [step.name for step in steps] == ["gone", "large", "small", "late"]


def load(name: str, *ordinals: int) -> Load:
    wanted = target(name, devices=on_gpu(*ordinals)) if ordinals else target(name)
    assert wanted.pin is not None
    return Load(name=name, pin=wanted.pin, framework="sim", urgency=(0, 0))


def download(name: str, storage_uri: str = URI, urgency: tuple[int, int] = (0, 0)) -> Download:
    return Download(name=name, storage_uri=storage_uri, urgency=urgency)


def names(actions: tuple[Action, ...]) -> list[str]:
    return [action.name for action in actions]


def queues(actions: Sequence[Action]) -> Collection[Sequence[Action]]:
    waiting = Waiting()
    for action in actions:
        waiting.put(action.name, action)
    return waiting.queues


def test_one_load_a_gpu_and_several_over_gpus_and_cpu() -> None:
    waiting = [load("a", 0), load("b", 0), load("c", 1), load("d"), load("e")]
    assert names(admit(queues(waiting), [], lanes=Lanes(server=4))) == ["a", "c", "d", "e"]
    assert names(admit(queues(waiting), [load("x", 0)], lanes=Lanes(server=4))) == ["c", "d", "e"]
    assert names(admit(queues(waiting), [], lanes=Lanes(server=4, loads_per_device=2))) == [
        "a",
        "b",
        "c",
        "d",
    ]


def test_a_model_on_two_gpus_needs_both() -> None:
    assert names(admit(queues([load("a", 0, 1), load("b", 1), load("c", 2)]), [], lanes=Lanes())) == [
        "a",
        "c",
    ]


def test_a_load_waits_for_the_unload_on_its_device() -> None:
    unload = Unload(name="old", devices=("gpu:0",))
    waiting: list[Action] = [unload, load("a", 0), load("b", 1)]
    assert names(admit(queues(waiting), [], lanes=Lanes())) == ["old", "b"]
    assert names(admit(queues(waiting[1:]), [], lanes=Lanes(), freeing={"gpu:0"})) == ["b"]


def test_lanes_are_bounded_and_apart() -> None:
    waiting: list[Action] = [load(f"l{i}") for i in range(9)]
    waiting += [Download(name=f"d{i}", storage_uri=URI, urgency=(0, 0)) for i in range(9)]
    lanes = Lanes(downloads=2, server=3)
    assert sorted(names(admit(queues(waiting), [], lanes=lanes))) == ["d0", "d1", "l0", "l1", "l2"]
    running: list[Action] = [load("r"), Download(name="s", storage_uri=URI, urgency=(0, 0))]
    assert sorted(names(admit(queues(waiting), running, lanes=lanes))) == ["d0", "l0", "l1"]


def test_loads_that_hung_get_half_of_the_lanes_and_come_last() -> None:
    hung = [replace(load(f"h{i}"), hung=1 + i) for i in range(3)]
    assert names(admit(queues(hung), [], lanes=Lanes(server=4))) == ["h0", "h1"]
    assert names(admit(queues(hung), [], lanes=Lanes(server=1))) == ["h0"]
    assert names(admit(queues([*hung, load("new")]), hung[:1], lanes=Lanes(server=4))) == ["new", "h0"]
    others = [load(f"n{i}") for i in range(4)]
    assert names(admit(queues([*hung, *others]), [], lanes=Lanes(server=4))) == ["n0", "n1", "n2", "n3"]
    on_gpus = [replace(load("h", 0), hung=1), load("n", 0)]
    assert names(admit(queues(on_gpus), [], lanes=Lanes(server=4))) == ["n"]


def test_an_unload_waits_for_no_load() -> None:
    loads = [load(f"l{i}") for i in range(4)]
    unloads = [Unload(name=f"u{i}", devices=()) for i in range(2)]
    assert names(admit(queues([load("l"), *unloads]), loads, lanes=Lanes(server=4))) == ["u0"]
    assert names(admit(queues(unloads), [*loads, unloads[0]], lanes=Lanes(server=4))) == []
    assert names(admit(queues(unloads), loads[:1], lanes=Lanes(server=1))) == []


@pytest.mark.parametrize("most", [1, 2, 4])
def test_models_that_hang_again_and_again_keep_no_other_waiting_for_ever(most: int) -> None:
    waiting = {f"h{i:02}": load(f"h{i:02}") for i in range(20)} | {"z": load("z")}
    for _ in range(21):
        begun = admit(queues(list(waiting.values())), [], lanes=Lanes(server=most))
        if waiting["z"] in begun:
            return
        for action in begun:
            waiting[action.name] = replace(waiting[action.name], hung=waiting[action.name].hung + 1)
    raise AssertionError("it has not begun")


def test_work_on_files_does_not_wait_for_downloads() -> None:
    running = [download(f"d{i}") for i in range(4)]
    waiting: list[Action] = [download("d"), Remove(name="r"), install(M), Discard(name="s")]
    assert names(admit(queues(waiting), running, lanes=Lanes(files=2))) == ["r", "s"]
    assert names(admit(queues(waiting[2:3]), [*running, Remove(name="r")], lanes=Lanes(files=2))) == ["m"]


def test_the_last_lane_is_for_another_store_if_there_is_one() -> None:
    one = [download(f"a{i}", "s3://one/m") for i in range(6)]
    other = download("z", "s3://other/m", urgency=(9, 0))
    assert names(admit(queues(one), [], lanes=Lanes())) == ["a0", "a1", "a2", "a3"]
    assert names(admit(queues([*one, other]), [], lanes=Lanes())) == ["a0", "a1", "a2", "z"]
    assert names(admit(queues([*one, other]), one[:3], lanes=Lanes())) == ["z"]
    assert names(admit(queues([*one, other]), [], lanes=Lanes(downloads=1))) == ["a0"]


def test_a_failed_download_comes_after_those_that_have_failed_less_often() -> None:
    failure = Failure(
        state="DownloadFailed", reason="TooSlow", message="x", attempts=2, retry_at_s=1.0, retry="soon"
    )
    again = next_action("m", M, observed({"m": Seen(failure=failure)}))
    assert again == replace(DOWNLOAD, attempts=2)
    waiting = [again, replace(DOWNLOAD, name="once", attempts=1), download("new", urgency=(9, 0))]
    assert names(admit(queues(waiting), [], lanes=Lanes(downloads=3))) == ["new", "once", "m"]


@pytest.mark.parametrize("store", ["http://silent", "http://other"])
@pytest.mark.parametrize("most", [1, 4])
def test_a_store_that_never_answers_does_not_keep_others_waiting_for_ever(store: str, most: int) -> None:
    """Twenty models of it fail together again and again and are due at once; one waits behind them."""
    silent = [download(f"a{i:02}", "http://silent/m", urgency=(i, 0)) for i in range(20)]
    good = download("z", f"{store}/z", urgency=(99, 0))
    waiting = {action.name: action for action in [*silent, good]}
    for _ in range(21):
        begun = admit(queues(list(waiting.values())), [], lanes=Lanes(downloads=most))
        if good in begun:
            return
        for action in begun:
            assert isinstance(action, Download)
            waiting[action.name] = replace(action, attempts=action.attempts + 1)
    raise AssertionError("it has not begun")


def test_a_model_that_does_not_answer_is_unloaded_first() -> None:
    sick = Failure(state="FailedToLoad", reason="ProbeFailed", message="dead", attempts=1, retry_at_s=0.0)
    seen = Seen(installed=copy(loaded_on=M), row=row("READY"), failure=sick)
    assert isinstance(next_action("m", M, observed({"m": seen})), Unload)
    for state in ("UNLOADING", "UNAVAILABLE"):  # it may never get beyond the first
        away = replace(seen, row=row(state))
        assert isinstance(next_action("m", M, observed({"m": away})), Load)
    waiting = replace(seen, row=row("UNLOADING"), failure=replace(sick, retry_at_s=1e9))
    assert next_action("m", M, observed({"m": waiting})) is None


def test_newer_files_do_not_wait_for_an_unload_that_never_ends() -> None:
    leaves = Seen(installed=copy("file:///old"), staged=copy(), row=row("UNLOADING"), unload_asked_at_s=0.0)
    for now_s, wanted in ((STUCK_UNLOAD_S - 1, None), (STUCK_UNLOAD_S, True)):
        step = next_action("m", M, replace(observed({"m": leaves}), now_s=now_s))
        assert (step.update if isinstance(step, Load) else step) == wanted


@pytest.mark.parametrize("reason", ["NoRoom", "OutOfMemory"])
@pytest.mark.parametrize("attempts", [1, 2, 4, 8])
def test_a_model_without_memory_where_it_should_move_is_not_given_up_where_it_is(
    reason: str, attempts: int
) -> None:
    short = replace(FAILED, reason=reason, attempts=attempts, retry_at_s=0.0)
    assert next_action("m", MOVED, observed({"m": replace(SERVES, failure=short)})) == MOVE


def test_a_move_says_what_stays_where_it_is() -> None:
    before, wider = target(devices=on_gpu(0)), target(devices=on_gpu(0, 1))
    held = replace(copy(loaded_on=before), measured_bytes=7)
    for installed, kept, kept_bytes in (
        (held, ("gpu:0",), 7),
        (replace(held, measured_bytes=None), ("gpu:0",), None),
        # The load of a new pin was cut short: the model may be anywhere.
        (replace(held, loaded_pin=None), ("gpu:0", "gpu:1"), None),
    ):
        step = next_action("m", wider, observed({"m": Seen(installed=installed, row=row("READY"))}))
        assert isinstance(step, Load)
        assert (step.kept, step.kept_bytes) == (kept, kept_bytes)
    anew = next_action("m", wider, observed({"m": Seen(installed=held)}))
    assert isinstance(anew, Load)
    assert (anew.kept, anew.kept_bytes) == ((), None)


def test_what_the_server_may_have_died_of_is_loaded_with_no_other() -> None:
    suspects = [replace(load(f"s{i}"), crashes=1) for i in range(2)]
    assert names(admit(queues(suspects), [], lanes=Lanes())) == ["s0"]
    assert names(admit(queues([*suspects, load("m")]), [], lanes=Lanes())) == ["m"]
    assert names(admit(queues([suspects[1], load("m", 0)]), suspects[:1], lanes=Lanes())) == []
    assert names(admit(queues(suspects), [load("m")], lanes=Lanes())) == []
