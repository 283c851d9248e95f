"""What a caller may say about the search: how long, how parallel, and which seed."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_WORKS = (
    (200, 150, 0.0),
    (2_000, 9, 0.0),
    (20_000, 0, 0.015),
    (200_000, 270, 0.0028),
    (None, 1_900, 0.0),
)
"""(units up to, work, and more for each unit): what a search spends that is not told. A second of a core for
2,000 units; some 11 of two cores for 10,000, some 54 for 100,000 and some 290 for 1,000,000."""

PROOF_TIME_A_UNIT = 0.045
"""CP-SAT's deterministic time, roughly seconds."""


def default_work(units: int) -> int:
    """Return the work that is spent on so many units when nothing is said."""
    found = (work + int(each * units) for most, work, each in DEFAULT_WORKS if most is None or units <= most)
    return next(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveOptions:
    """The budget of a search.

    Parameters
    ----------
    seed
        Seed of every random choice, at least 0.
    work
        Deterministic work, at least 1; None is ``default_work`` of the scenario's size. One unit is three
        million candidates, or sets of them, that are looked at (up to a tenth of a second), or one round of
        improvement of shards on nodes. On a small scenario CP-SAT may spend ``PROOF_TIME_A_UNIT`` of its
        deterministic time for each unit on top. Equal work gives an equal plan.
    time_limit_ms
        Safety stop by the clock: the best plan so far is returned and marked ``stopped_by_clock``, which
        voids the promise of equal bytes. None is no stop.
    workers
        Threads of the exact engine, at least 1; only 1 promises equal bytes.
    max_moves
        How many replicas of an earlier plan may get another seat; None is unlimited. A plan that has to
        repair broken rules makes as few as are found, even if they are more.
    """

    seed: int = 0
    work: int | None = None
    time_limit_ms: int | None = None
    workers: int = 1
    max_moves: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("seed", self.seed, 0),
            ("work", self.work, 1),
            ("time_limit_ms", self.time_limit_ms, 1),
            ("workers", self.workers, 1),
            ("max_moves", self.max_moves, 0),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; it has to be at least {least}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What CP-SAT may spend: deterministic time, threads (only 1 is repeatable), its seed; and by the clock.

    ``limit_s`` None is no such limit.
    """

    deterministic_time: float
    limit_s: float | None = None
    workers: int
    seed: int
