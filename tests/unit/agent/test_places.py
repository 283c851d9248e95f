"""How many connections are open, and which of them gives way."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from agent.places import Places

Connect = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with contextlib.ExitStack() as stack:

        def pair() -> tuple[socket.socket, socket.socket]:
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            return stack.enter_context(ours), stack.enter_context(theirs)

        yield pair


def is_open(theirs: socket.socket) -> bool:
    try:
        return theirs.recv(1) != b""
    except BlockingIOError:
        return True


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def leaves_when_closed(places: Places, ours: socket.socket) -> None:
    ours.recv(1)
    places.leave(ours)


def test_the_one_that_has_sent_no_request_for_longest_gives_way(connect: Connect) -> None:
    places = Places(2, 30.0)
    (first, first_client), (second, second_client), (third, third_client) = connect(), connect(), connect()
    assert places.enter(first)
    assert places.enter(second)
    places.heard(first)
    places.answered(first)
    leaving = threading.Thread(target=leaves_when_closed, args=(places, second))
    leaving.start()
    assert places.enter(third)
    leaving.join()
    assert [is_open(one) for one in (first_client, second_client, third_client)] == [True, False, True]


def test_without_a_place_nobody_enters(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.places._LEAVING_S", 0.01)
    places = Places(1, 30.0)
    (first, _), (second, _) = connect(), connect()
    assert places.enter(first)
    assert not places.enter(second), "the first one is still being answered"
    places.leave(first)
    assert places.enter(second)


def test_a_request_has_its_time_as_a_whole_and_an_answer_takes_what_it_takes(connect: Connect) -> None:
    clock = Clock()
    places = Places(3, 30.0, clock)
    (sends, sends_client), (asked, asked_client) = connect(), connect()
    places.enter(sends)
    places.enter(asked)
    places.heard(asked)
    clock.now_s = 29.0
    places.expire()
    assert is_open(sends_client)
    clock.now_s = 30.0
    places.expire()
    assert (is_open(sends_client), is_open(asked_client)) == (False, True)
    clock.now_s = 100.0
    places.answered(asked)
    clock.now_s = 129.0
    places.expire()
    assert is_open(asked_client)
    clock.now_s = 130.0
    places.expire()
    assert not is_open(asked_client)
