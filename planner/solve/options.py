"""What a caller may say about the search: how long, how parallel, and which seed."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_WORK = 100
"""Units of work that keep 20,000 models within half a minute on two cores (see ``tests/bench/solve``)."""

PROOF_TIME_A_UNIT = 0.03
"""CP-SAT's deterministic time, roughly seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveOptions:
    """The budget of a search.

    Parameters
    ----------
    seed
        Seed of every random choice, at least 0.
    work
        Deterministic work, at least 1: one unit is one construction or one round of improvement. A small
        scenario may spend ``PROOF_TIME_A_UNIT`` of CP-SAT's deterministic time for each unit on a proof on
        top. Equal work gives an equal plan.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What CP-SAT may spend: deterministic time, threads (only 1 is repeatable), and its seed."""

    deterministic_time: float
    workers: int
    seed: int
