"""Options of the commands that search: how long, how parallel, and which seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from planner.cli.options import Command, Seconds

if TYPE_CHECKING:
    from planner.solve.options import SolveOptions

_LARGEST, _MOST_WORKERS = 2**63 - 1, 4096
"""What a plan file can hold."""
_LONGEST_S = 30 * 24 * 3600


def budget_options(
    *, work: str, time_limit: str, default_limit_s: float | None = None
) -> Callable[[Command], Command]:
    """Add ``--seed``, ``--work``, ``--time-limit`` and ``--workers``, which ``solve_options`` takes.

    Parameters
    ----------
    work, time_limit
        What these two mean for the command.
    default_limit_s
        The time limit that goes without saying; None is none.
    """
    options = (
        click.option(
            "--seed", type=click.IntRange(0, _LARGEST), default=0, show_default=True, help="Random seed."
        ),
        click.option("--work", type=click.IntRange(1, _LARGEST), help=work),
        click.option(
            "--time-limit",
            "time_limit_s",
            type=Seconds(min=0, min_open=True, max=_LONGEST_S),
            default=default_limit_s,
            show_default=default_limit_s is not None,
            help=time_limit,
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, _MOST_WORKERS),
            default=1,
            show_default=True,
            help="Threads of the exact solver; only 1 promises equal bytes.",
        ),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def solve_options(seed: int, work: int | None, *, time_limit_s: float | None, workers: int) -> SolveOptions:
    """Return what the options said."""
    from planner.solve.options import SolveOptions

    return SolveOptions(
        seed=seed,
        work=work,
        time_limit_ms=None if time_limit_s is None else max(1, round(1000 * time_limit_s)),
        workers=workers,
    )
