"""What a caller may say about the search: how long, how parallel, and which seed."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_WORK = 100
"""Units of work that suffice for the quality goals on 20,000 models (measured: ``tests/bench/solve``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveOptions:
    """The budget of a search.

    Parameters
    ----------
    seed
        Seed of every random choice, at least 0.
    work
        Deterministic work, at least 1. One unit is one construction attempt or improvement round of a large
        fleet, and for CP-SAT a tenth of a unit of its deterministic time (about a tenth of a second). Equal
        work gives an equal plan on every machine.
    time_limit_ms
        Safety stop by the clock: the best plan so far is returned and marked ``stopped_by_clock``, which
        voids the promise of equal bytes. None is no stop.
    workers
        Threads of the exact engine, at least 1; only 1 promises equal bytes.
    """

    seed: int = 0
    work: int = DEFAULT_WORK
    time_limit_ms: int | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        for name, value, least in (
            ("seed", self.seed, 0),
            ("work", self.work, 1),
            ("time_limit_ms", self.time_limit_ms, 1),
            ("workers", self.workers, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; it has to be at least {least}")
