from __future__ import annotations

from agent.liveness import Liveness
from agent.observed import Absence
from agent.servers.port import ServerInfo

INFO = ServerInfo(kind="triton", version="2")


def test_a_server_that_was_never_there_is_news_once() -> None:
    liveness = Liveness()
    assert [liveness.miss("refused") for _ in range(5)] == [True, False, False, False, False]
    assert (liveness.fault, liveness.gone) == ("refused", True)


def test_a_server_that_answered_is_gone_after_several_looks() -> None:
    liveness = Liveness()
    assert liveness.answer(INFO, restarted=False, wall_s=1.0)
    assert [liveness.miss("refused") for _ in range(5)] == [False, False, True, False, False]
    assert liveness.answer(INFO, restarted=False, wall_s=2.0)
    assert (liveness.fault, liveness.since_s, liveness.live) == (None, 2.0, True)


def test_one_late_answer_makes_no_other_process() -> None:
    liveness = Liveness()
    liveness.answer(INFO, restarted=False, wall_s=1.0)
    assert not liveness.miss("late")
    assert not liveness.answer(INFO, restarted=False, wall_s=2.0)
    assert liveness.since_s == 1.0


def test_a_look_that_is_under_way_is_silence() -> None:
    liveness = Liveness()
    assert liveness.silence_s(5.0) == 0.0
    liveness.asked_at_s = 2.0
    assert liveness.silence_s(5.0) == 3.0


def test_traffic_comes_when_it_is_opened_and_not_to_another_process() -> None:
    liveness = Liveness()
    assert not liveness.open()  # nobody has answered yet
    liveness.answer(INFO, restarted=False, wall_s=1.0)
    liveness.settle("g")
    assert not liveness.ready
    assert [liveness.open(), liveness.open(), liveness.ready] == [True, False, True]
    liveness.answer(INFO, restarted=True, wall_s=2.0)
    assert not liveness.ready


def test_only_looks_that_found_nobody_in_a_row_say_that_a_server_is_absent() -> None:
    liveness = Liveness()

    def told(now_s: float, *, nobody: bool) -> Absence:
        liveness.miss("x", nobody_at_s=now_s if nobody else None)
        return liveness.absence(now_s, longest_start_s=60.0)

    looks = [(1.0, False), (2.0, True), (3.0, True), (4.0, False), (5.0, True), (6.0, True), (7.0, True)]
    unknown, seen, lasting = Absence.UNKNOWN, Absence.SEEN, Absence.LASTING
    found = [told(now_s, nobody=nobody) for now_s, nobody in looks]
    assert found == [unknown, seen, seen, unknown, seen, seen, lasting]
    assert [told(64.9, nobody=True), told(65.0, nobody=True)] == [lasting, Absence.ENDLESS]
    liveness.answer(INFO, restarted=False, wall_s=1.0)
    assert liveness.absence(99.0, longest_start_s=60.0) == unknown
