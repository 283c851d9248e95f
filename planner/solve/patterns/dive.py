"""Diving: patterns are decided one after the other, and what is left is priced again.

Sadykov, Vanderbeck, Pessoa, Tahiri and Uchoa 2019, 'Primal heuristics for branch and price'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solve.exact.master import Shares
from planner.solve.patterns.columns import Column, Columns

WHOLE = 1 - 1e-6
"""A share from which a pattern counts as chosen by the program itself."""


MORE_ROUNDS = 3
"""Further rounds of pricing where a dive looks too dear."""

OVERDRAFT = 0.5
"""How much more than there is a dive that has begun may spend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dive:
    """How a dive goes.

    Parameters
    ----------
    rounds
        Rounds of pricing after every decision, at most.
    least_share
        Patterns with a larger share are decided together.
    step_ratio
        So many of the shards that are left are decided at once, at most; always one.
    least_ratio
        So many of them are decided at once whatever their shares.
    noise
        How far shares are disturbed by chance when they are compared; 0 is not at all.
    """

    rounds: int = 2
    least_share: float = 0.7
    step_ratio: float = 0.15
    least_ratio: float = 0.0
    noise: float = 0.0


def dive(columns: Columns, style: Dive, rng: np.random.Generator, most: float) -> list[Column] | None:
    """Return patterns that cover what columns ask for; None where they would cost ``most`` or more.

    Where the work is spent before the end, the demand of the columns is what they leave over.

    Parameters
    ----------
    columns
        What is known; its demand shrinks to nothing, and columns are added.
    style, rng
        How the dive goes.
    most
        In shards of the dearest type.
    """
    chosen: list[Column] = []
    cost = 0.0
    while columns.demand.any():
        if columns.purse.left < -OVERDRAFT or columns.purse.watch.is_over():
            return chosen
        shares = _priced(columns, style, most - cost)
        if shares is None or cost + shares.cost > most - columns.step + 1e-6:
            return None
        found = _decide(columns, shares, style, rng)
        if not found:
            return None
        cost += sum(columns.floors[column.shard_type] for column in found)
        chosen += found
    return chosen if cost < most - columns.step / 2 else None


def _priced(columns: Columns, style: Dive, most: float) -> Shares | None:
    """Return the master's solution after some rounds of pricing; more of them where it looks too dear."""
    shares = columns.solve()
    for number in range(style.rounds + MORE_ROUNDS):
        if shares is None:
            return None
        dear = shares.cost > most - columns.step + 1e-6
        if number >= style.rounds and not dear:
            break
        if not columns.extend(shares):
            break
        shares = columns.solve()
    return shares


def _decide(columns: Columns, shares: Shares, style: Dive, rng: np.random.Generator) -> list[Column]:
    """Fix the patterns with the largest shares that still cover only what is asked for."""
    value = shares.value
    noisy = value * np.exp(rng.normal(0, style.noise, len(value))) if style.noise else value
    known = np.flatnonzero(value > 1e-6)
    order = known[np.argsort(-noisy[known], kind="stable")]
    left = float(value.sum())
    at_most, at_least = max(1, int(style.step_ratio * left)), max(1, int(style.least_ratio * left))
    found: list[Column] = []
    for number in order:
        column, share = columns.known[number], value[number]
        times = max(1, int(share + 1 - WHOLE))
        while times and _covers_asked(columns, column):
            sure = share >= WHOLE or (share >= style.least_share and len(found) < at_most)
            if not sure and len(found) >= at_least:
                return found
            columns.fix(column)
            found.append(column)
            times -= 1
    if not found and len(order):
        columns.fix(columns.known[order[0]])
        found.append(columns.known[order[0]])
    return found


def _covers_asked(columns: Columns, column: Column) -> bool:
    return all(columns.demand[of_class] >= count for of_class, count in column.pattern)
