"""When documents are written."""

from __future__ import annotations

from planner.controller.pace import Pace, Postponed

PACE = Pace(quiet_s=0.2, longest_s=10.0, storm=20)


def changed(postponed: Postponed, times: list[float]) -> None:
    for time in times:
        postponed.add("a", time)


def test_a_single_change_waits_for_quiet() -> None:
    postponed = Postponed(PACE)
    changed(postponed, [5.0])
    assert postponed.next() == 5.2
    assert list(postponed.due(5.1)) == []
    assert list(postponed.due(5.2)) == ["a"]


def test_changes_without_an_end_are_written_all_the_same() -> None:
    postponed = Postponed(PACE)
    changed(postponed, [0.1 * index for index in range(101)])
    assert list(postponed.due(9.9)) == []
    assert list(postponed.due(10.0)) == ["a"]


def test_in_a_storm_a_shard_is_written_once_in_ten_seconds() -> None:
    postponed = Postponed(PACE)
    changed(postponed, [0.0])
    postponed.written("a", 0.2)
    assert list(postponed.due(0.2)) == ["a"]  # to see that it was
    postponed.done("a")
    changed(postponed, [0.3 + 0.01 * index for index in range(25)])
    assert postponed.next() == 10.2


def test_few_changes_after_a_write_do_not_wait() -> None:
    postponed = Postponed(PACE)
    changed(postponed, [0.0])
    postponed.written("a", 0.2)
    postponed.done("a")
    changed(postponed, [1.0, 1.1])
    assert list(postponed.due(1.3)) == ["a"]


def test_where_nothing_can_be_written_nothing_is_looked_at() -> None:
    postponed = Postponed(PACE)
    changed(postponed, [0.0])
    postponed.rest("a", 7.0)
    assert postponed.next() == 7.0
    postponed.done("a")
    assert postponed.next() is None
    assert "a" not in postponed
