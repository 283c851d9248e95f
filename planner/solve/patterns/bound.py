"""The configuration bound, exact whatever the values that it is computed from."""

from __future__ import annotations

from collections.abc import Sequence

from planner.solve.bounds import round_up
from planner.solve.patterns.sites import Classes
from planner.solve.problem import Ints

SCALE = 2**24
"""Values of units are integers of this fraction of the dearest type's price."""


def configuration_bound(classes: Classes, values: Ints, worth_at_most: Sequence[int]) -> int:
    """Return a cost in micro-USD an hour below which no plan places every unit.

    Weak duality of the configuration program (Gilmore and Gomory 1961): a shard whose pattern is worth more
    than the shard costs owes the difference, which the number of shards limits; where it is unlimited, all
    values shrink until none owes (Farley 1990).

    Parameters
    ----------
    classes
        What is placed.
    values
        ``(classes,)`` of ``SCALE``, at least 0: any.
    worth_at_most
        Of each type, what no pattern is worth more than; ``SCALE`` too.
    """
    unit = max(classes.prices)
    total = sum(int(value) * len(units) for value, units in zip(values, classes.units, strict=True)) * unit
    prices = [price * SCALE for price in classes.prices]
    worth = [int(value) * unit for value in worth_at_most]
    best = 0
    for numerator, denominator in _shrinkages(classes, prices, worth):
        bound = total * numerator
        for price, most_worth, least, most in zip(prices, worth, classes.least, classes.most, strict=True):
            saving = price * denominator - most_worth * numerator
            if saving >= 0:
                bound += least * saving
            else:
                assert most is not None
                bound += most * saving
        best = max(best, -(-bound // (SCALE * denominator)))
    return round_up(best, classes.prices)


def _shrinkages(classes: Classes, prices: Sequence[int], worth: Sequence[int]) -> list[tuple[int, int]]:
    """Return factors that leave no unlimited type in debt, and none at all, as fractions."""
    found = []
    for every in (False, True):
        factor = (1, 1)
        for price, most_worth, most in zip(prices, worth, classes.most, strict=True):
            # price / worth < factor, compared across
            if (every or most is None) and price * factor[1] < most_worth * factor[0]:
                factor = (price, most_worth)
        found.append(factor)
    return found
