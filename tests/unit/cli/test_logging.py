"""What operators read of long commands on stderr: every line with its facts."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Any

import pytest

from planner.cli.logs import LogLines

_Raised = tuple[type[BaseException], BaseException, TracebackType | None]


def line(message: str, *args: object, exc_info: _Raised | None = None, **extra: Any) -> str:
    log = logging.getLogger("planner.cluster.watching")
    record = log.makeRecord(log.name, logging.WARNING, __file__, 1, message, args, exc_info, extra=extra)
    return LogLines().format(record)


def test_a_line_has_its_level_and_who_says_it() -> None:
    assert line("shard %s is full", "news-1") == "WARNING planner.cluster.watching: shard news-1 is full"


def test_the_facts_of_a_line_stand_behind_it() -> None:
    told = line("the watch failed and is tried again", resource="models", error="refused", failures=0)
    assert told.endswith(": the watch failed and is tried again resource='models' error='refused' failures=0")


@pytest.mark.parametrize("text", ["two\nlines", "a colour: \x1b[31m", "a return\r"])
def test_what_another_server_said_stays_on_its_line(text: str) -> None:
    told = line("the API server warns", warning=text)
    assert told.isprintable()


def test_an_exception_stands_below_the_line_and_its_facts() -> None:
    known: dict[str, int] = {}
    try:
        known["m"]
    except KeyError:
        told = line("not judged", exc_info=sys.exc_info(), model="m")  # type: ignore[arg-type]
    first, *rest = told.splitlines()
    assert first.endswith("not judged model='m'")
    assert rest[-1] == "KeyError: 'm'"
