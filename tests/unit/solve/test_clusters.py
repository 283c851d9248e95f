"""Columns that are alike, however many rows they have."""

from __future__ import annotations

import numpy as np
import pytest

from planner.solve.clusters import equal_columns


@pytest.mark.parametrize("rows", [0, 1, 3, 80])
def test_equal_columns_have_one_number_and_numbers_rise_with_columns(rows: int) -> None:
    rng = np.random.default_rng(rows)
    few = rng.integers(0, 4, (rows, 5))
    columns = few[:, rng.integers(0, 5, 40)]
    told = equal_columns(columns).tolist()
    known = sorted({tuple(column) for column in columns.T.tolist()})
    assert told == [known.index(tuple(column)) for column in columns.T.tolist()]


def test_numbers_near_the_largest_are_told_apart() -> None:
    largest = 2**31 - 2
    assert equal_columns(np.array([[largest, 0, largest], [1, largest, 1], [5, 0, 5]])).tolist() == [1, 0, 1]
