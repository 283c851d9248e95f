from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.background import give_way, in_front

PRINT_POLICY = (sys.executable, "-c", "import os; print(os.sched_getscheduler(0))")


@pytest.fixture(autouse=True)
def ordinary() -> Iterator[None]:
    """The thread of the tests is scheduled as any other, and afterwards as it was before."""
    before = policy()
    put(os.SCHED_OTHER)
    yield
    put(before)


def put(policy: int) -> None:
    os.sched_setscheduler(0, policy, os.sched_param(0))


def policy() -> int:
    return os.sched_getscheduler(0)


def policy_of_a_process() -> int:
    return int(subprocess.run(PRINT_POLICY, capture_output=True, check=True).stdout)


def test_threads_of_one_that_gives_way_do_too() -> None:
    give_way()
    with ThreadPoolExecutor(1) as threads:
        assert (policy(), threads.submit(policy).result()) == (os.SCHED_BATCH, os.SCHED_BATCH)


def test_a_process_started_in_front_does_not_give_way() -> None:
    give_way()
    assert policy_of_a_process() == os.SCHED_BATCH
    with in_front():
        assert policy_of_a_process() == os.SCHED_OTHER
    assert policy() == os.SCHED_BATCH


def test_in_front_of_nothing_nothing_changes() -> None:
    with in_front():
        assert policy() == os.SCHED_OTHER
    assert policy() == os.SCHED_OTHER


def test_who_was_given_another_policy_keeps_it() -> None:
    put(os.SCHED_IDLE)
    give_way()
    assert policy() == os.SCHED_IDLE


def test_a_machine_that_refuses_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patches:
        patches.setattr(os, "sched_setscheduler", refuse)
        give_way()
        with in_front():
            assert policy() == os.SCHED_OTHER
