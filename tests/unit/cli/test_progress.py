"""Progress: nothing for what is quick, one line that is rewritten, or a few lines in a log."""

from __future__ import annotations

import io
from threading import Event, active_count

import pytest

from planner.cli.progress import ProgressLine, beat_until, progress_text, shown_progress
from planner.solve.progress import Progress

_STEP = Progress(phase="improve", cost_microusd_per_h=2_000_000, bound_microusd_per_h=1_500_000, refused=3)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def report_each_eighth(stream: io.StringIO, seconds: float, *, quiet: bool = False) -> ProgressLine:
    """Report a step every eighth of a second, which floats add up exactly."""
    clock = Clock()
    line = ProgressLine(stream, clock=clock, quiet=quiet)
    for _ in range(round(8 * seconds)):
        clock.now_s += 0.125
        line(_STEP)
    return line


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_what_takes_less_than_a_second_is_not_talked_about(stream: io.StringIO) -> None:
    report_each_eighth(stream, 0.9).close()
    assert stream.getvalue() == ""


def test_a_terminal_has_one_line_that_is_wiped_at_the_end() -> None:
    stream = Terminal()
    line = report_each_eighth(stream, 3)
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().count("\r") > 5
    line.close()
    assert stream.getvalue().endswith(" \r")


def test_a_shorter_line_covers_a_longer_one() -> None:
    stream, clock = Terminal(), Clock()
    line = ProgressLine(stream, clock=clock)
    for step in (_STEP, Progress(phase="x", cost_microusd_per_h=None, bound_microusd_per_h=None, refused=0)):
        clock.now_s += 2
        line(step)
    first, second = stream.getvalue().split("\r")[1:]
    assert len(second) >= len(first)


def test_a_log_has_ever_fewer_lines() -> None:
    stream = io.StringIO()
    report_each_eighth(stream, 200).close()
    lines = stream.getvalue().splitlines()
    seconds = [int(line.rpartition("[")[2].removesuffix(" s]")) for line in lines]
    assert seconds == [1, 5, 10, 20, 40, 80, 140, 200]
    assert lines[0].startswith("improve, cost 2 USD/h, bound 1.5 USD/h, gap 25.00 %, 3 refused [1")


def test_a_search_that_is_silent_is_talked_about_all_the_same() -> None:
    stream, clock = io.StringIO(), Clock()
    line = ProgressLine(stream, clock=clock)
    line.tick()
    line(_STEP)
    clock.now_s += 30

    class Ticks(Event):
        """Lets three ticks pass, then stops."""

        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            return self.waits > 3

    beat_until(line, Ticks())
    assert stream.getvalue().splitlines() == [f"{progress_text(_STEP)} [30 s]"]


def test_the_heartbeat_ends_with_the_search() -> None:
    before = active_count()
    with shown_progress(io.StringIO(), quiet=False) as line:
        line(_STEP)
    assert active_count() == before


def test_quiet_is_quiet() -> None:
    stream = io.StringIO()
    report_each_eighth(stream, 12, quiet=True).close()
    assert stream.getvalue() == ""


def test_what_is_not_known_yet_is_said() -> None:
    step = Progress(phase="construct", cost_microusd_per_h=None, bound_microusd_per_h=None, refused=0)
    assert progress_text(step) == "construct, no plan yet, no bound yet"


def test_a_plan_that_costs_nothing_has_no_gap() -> None:
    step = Progress(phase="x", cost_microusd_per_h=0, bound_microusd_per_h=0, refused=0)
    assert "gap 0.00 %" in progress_text(step)
