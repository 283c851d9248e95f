"""The queue: each key once, failures later, never two at a time."""

from __future__ import annotations

from threading import Thread

import pytest

from planner.cluster import WorkQueue
from planner.cluster.backoff import Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(backoff=Backoff(first_s=1.0, most_s=8.0), retries_per_s=10.0, burst=3, clock=clock)


def taken(queue: WorkQueue[str]) -> list[str]:
    found = []
    while (key := queue.take(timeout_s=0)) is not None:
        found.append(key)
    return found


def test_a_key_that_is_added_twice_is_taken_once_in_order(queue: WorkQueue[str]) -> None:
    for key in ("b", "a", "b"):
        queue.add(key)
    assert len(queue) == 2
    assert taken(queue) == ["b", "a"]


def test_a_key_is_not_taken_again_while_someone_works_on_it(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert queue.take(timeout_s=0) == "a"
    queue.add("a")
    assert queue.take(timeout_s=0) is None
    queue.done("a")
    assert queue.take(timeout_s=0) == "a"
    queue.done("a")
    assert queue.take(timeout_s=0) is None


def test_a_key_for_later_comes_when_it_is_due_at_the_earliest_of_its_times(
    queue: WorkQueue[str], clock: Clock
) -> None:
    queue.add("a", after_s=5.0)
    queue.add("a", after_s=2.0)
    queue.add("a", after_s=9.0)
    clock.now += 1.9
    assert taken(queue) == []
    clock.now += 0.1
    assert taken(queue) == ["a"]
    queue.done("a")
    clock.now += 100
    assert taken(queue) == []


def test_waits_of_a_key_double_up_to_the_longest_and_start_anew_after_success(
    queue: WorkQueue[str], clock: Clock
) -> None:
    waits = []
    for _ in range(5):
        waits.append(queue.retry("a"))
        clock.now += waits[-1]
        assert taken(queue) == ["a"]
        queue.done("a")
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0]
    queue.forget("a")
    assert queue.retry("a") == 1.0


def test_retries_of_many_keys_are_spread_over_time(clock: Clock) -> None:
    queue: WorkQueue[int] = WorkQueue(
        backoff=Backoff(first_s=0.001, most_s=1.0), retries_per_s=10.0, burst=3, clock=clock
    )
    waits = [queue.retry(key) for key in range(10)]
    assert waits[:3] == [0.001] * 3
    assert waits[3:] == pytest.approx([0.1 * index for index in range(1, 8)])


def test_a_key_that_was_put_off_and_is_added_now_comes_now_and_once_more_when_due(
    queue: WorkQueue[str], clock: Clock
) -> None:
    queue.add("a", after_s=5.0)
    queue.add("a")
    assert taken(queue) == ["a"]
    queue.done("a")
    clock.now += 5
    assert taken(queue) == ["a"]


def test_those_who_wait_are_woken_by_a_key_and_by_the_end() -> None:
    queue: WorkQueue[str] = WorkQueue()
    found: list[str | None] = []
    threads = [Thread(target=lambda: found.append(queue.take())) for _ in range(2)]
    for thread in threads:
        thread.start()
    queue.add("a")
    while not found:
        threads[0].join(0.01)
    queue.close()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == [None, "a"]
    queue.add("b")
    assert queue.take(timeout_s=0) is None
