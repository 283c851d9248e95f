"""Kinds of similar demand, put together so that a linear program over a large fleet stays small."""

from __future__ import annotations

import numpy as np

from planner.solve.packing import Floats
from planner.solve.problem import Ints
from planner.solve.relaxation import Relaxation

_SPAN = 2**62
"""Codes of columns stay below it; numbers in a row have to be smaller than its root."""


def make_clusters(relaxation: Relaxation, weights: Floats, backend: Ints, most: int) -> tuple[Ints, ...]:
    """Return clusters of the kinds with weight: equal in backend and allowed types, then halved by demand.

    The largest spread is cut at its median until there are ``most`` clusters or all are alike.
    """
    wanted = np.flatnonzero((weights > 0) & _allowed_anywhere(relaxation))
    if not len(wanted):
        return ()
    signature = np.concatenate([item.allowed for item in relaxation.types] + [backend[None, :]], axis=0)
    group = equal_columns(signature[:, wanted])
    groups = [wanted[group == number] for number in range(int(group.max()) + 1)]
    features = _features(relaxation)
    return tuple(
        part
        for members in groups
        for part in _halved(members, features, max(1, most * len(members) // len(wanted)))
    )


def equal_columns(rows: Ints) -> Ints:
    """Return a number for each column, the same for equal ones and rising with them, top row first."""
    code, span = np.zeros(rows.shape[1], dtype=np.int64), 1
    for row in rows:
        width = int(row.max(initial=0)) + 1
        if span * width > _SPAN:
            _, code = np.unique(code, return_inverse=True)
            span = rows.shape[1]
        code, span = code * width + row, span * width
    _, code = np.unique(code, return_inverse=True)
    return np.asarray(code, dtype=np.int64)


def _allowed_anywhere(relaxation: Relaxation) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(np.any([item.allowed.any(axis=0) for item in relaxation.types], axis=0))


def _features(relaxation: Relaxation) -> Floats:
    """Return the logarithms of all demands, ``(kinds, features)``: what matters are ratios."""
    columns = [
        item.demand[way] * item.allowed[way][:, None]
        for item in relaxation.types
        for way in range(len(item.allowed))
    ]
    return np.asarray(np.log(np.concatenate(columns, axis=1) + 2.0**18))


def _halved(members: Ints, features: Floats, most: int) -> list[Ints]:
    if most < 2 or len(members) < 2:
        return [members]
    mine = features[members]
    spread = mine.max(axis=0) - mine.min(axis=0)
    widest = int(np.argmax(spread))
    if spread[widest] == 0:
        return [members]
    order = np.argsort(mine[:, widest], kind="stable")
    middle = len(members) // 2
    left, right = members[order[:middle]], members[order[middle:]]
    return _halved(left, features, most // 2) + _halved(right, features, most - most // 2)
