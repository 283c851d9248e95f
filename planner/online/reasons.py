"""Why a model fits nowhere: how many open shards each rule keeps it off, and the nearest miss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.domain.model import Model
from planner.domain.plan import Refusal
from planner.domain.rules import Rule
from planner.online.arrays import (
    ALLOWED,
    ANYWHERE,
    CROWD,
    DOMAIN,
    EXCLUSIVE,
    FIRST,
    LAST,
    MEMORY_LEFT,
    MILLI,
    MILLI_LEFT,
    NO_TENANT,
    ON_DEVICE,
    PEAK_LEAST,
    PEAK_SUM,
    ROW,
    STEADY,
    SURPLUS,
    TENANT,
    TYPE,
    Ask,
    Where,
)
from planner.online.asks import Way
from planner.online.book import Book
from planner.online.judging import COLUMN, judge, tally
from planner.solve.misses import COLUMN_RULES
from planner.solve.problem import MEMORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """What keeps a model off one shard: the first rule that does, and the two numbers if it has any."""

    rule: Rule
    subject: str
    need: int | None = None
    have: int | None = None

    @property
    def ratio(self) -> float:
        """Return how far off it is: 1 is a hair's breadth; plain prohibitions are infinitely far."""
        if self.need is None or self.have is None:
            return float("inf")
        return self.need / max(self.have, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A rule that stands against a model.

    Parameters
    ----------
    rule
        Which.
    shards
        How many of the open shards it keeps the model off, as the first rule that does.
    nearest
        The one of them that misses least.
    """

    rule: Rule
    shards: int
    nearest: Miss


def obstacles(book: Book, model: Model, ways: list[Way], where: Where | None) -> tuple[Obstacle, ...]:
    """Return what stands against one more replica of a model, the rule that is nearest to giving way first.

    Parameters
    ----------
    where
        Where it may be; None if it is pinned to what is not there.

    Returns
    -------
    Empty if it fits somewhere.
    """
    if where is None:
        assert model.pin is not None
        pinned = Miss(rule=Rule.PIN, subject=model.pin.shard)
        return (Obstacle(rule=Rule.PIN, shards=len(book.shards), nearest=pinned),)
    found = _misses(book, model, ways, where)
    counted: Counter[Rule] = Counter()
    nearest: dict[Rule, Miss] = {}
    for shards, miss in found:
        if miss is None:
            return ()
        counted[miss.rule] += shards
        nearest[miss.rule] = min(nearest.get(miss.rule, miss), miss, key=lambda item: item.ratio)
    listed = [Obstacle(rule=rule, shards=counted[rule], nearest=near) for rule, near in nearest.items()]
    return tuple(sorted(listed, key=_nearest_first))


def _misses(book: Book, model: Model, ways: list[Way], where: Where) -> list[tuple[int, Miss | None]]:
    """Return groups of shards that a rule keeps a model off: how many, and the nearest miss of each.

    None instead of a miss is a shard that takes it.
    """
    if where.row != ANYWHERE:
        told = [_row_miss(book, model, way.ask, where.row, where) for way in ways]
        return [(1, _least(told) if told else _not_allowed(book, model, where.row))]
    if not book.shards:
        return []
    if not ways:
        kinds, firsts, counts = np.unique(book.board.rows[:, TYPE], return_index=True, return_counts=True)
        return [
            (int(count), _not_allowed(book, model, int(first)))
            for _, first, count in zip(kinds, firsts, counts, strict=True)
        ]
    return [
        (shards, _row_miss(book, model, ways[way].ask, row, where))
        for shards, row, way in _tallied(book, ways, where)
    ]


def _tallied(book: Book, ways: list[Way], where: Where) -> list[tuple[int, int, int]]:
    """Return for each verdict how many shards it is on, which of them misses least, and by which way."""
    shape = len(ways), len(book.shards)
    verdicts, ratios = np.empty(shape, dtype=np.int64), np.empty(shape)
    for way, codes, distances in zip(ways, verdicts, ratios, strict=True):
        judge(book.board, way.ask, where.banned, codes, distances)
    best = ratios.argmin(axis=0)
    rows = np.arange(len(book.shards))
    counts, nearest = np.zeros(
        (2, COLUMN + len(book.columns), len(book.scenario.shard_types)), dtype=np.int64
    )
    tally(book.board.rows, verdicts[best, rows], ratios[best, rows], counts, nearest)
    found = nearest[counts > 0]
    return list(zip(counts[counts > 0].tolist(), found.tolist(), best[found].tolist(), strict=True))


def _least(told: list[Miss | None]) -> Miss | None:
    missing = [miss for miss in told if miss is not None]
    return min(missing, key=lambda miss: miss.ratio) if len(missing) == len(told) else None


def _nearest_first(obstacle: Obstacle) -> tuple[bool, float, int, str]:
    """Return what obstacles are ordered by: that replicas keep apart is seldom what is in short supply."""
    return (obstacle.rule is Rule.SPREAD, obstacle.nearest.ratio, -obstacle.shards, obstacle.rule.value)


def refusal_of(model: Model, replicas: int, found: tuple[Obstacle, ...], members: int) -> Refusal:
    """Return why replicas of a model got no place: the nearest miss, or its group as a whole."""
    if members > 1 or not found:
        rule = Rule.TOGETHER if members > 1 else Rule.DEVICE_CLASS
        subject = str(model.together) if members > 1 else "no shard is open"
        return Refusal(model=model.name, replicas=replicas, rule=rule, subject=subject)
    miss = found[0].nearest
    return Refusal(
        model=model.name,
        replicas=replicas,
        rule=miss.rule,
        subject=miss.subject,
        need=miss.need,
        have=miss.have,
    )


def _not_allowed(book: Book, model: Model, row: int) -> Miss:
    kind = book.scenario.shard_types[int(book.board.rows[row, TYPE])]
    served = book.parts.runtimes[kind.runtime].backends
    if served is not None and model.backend not in served:
        return Miss(rule=Rule.RUNTIME, subject=kind.runtime)
    return Miss(rule=Rule.DEVICE_CLASS, subject=kind.device_class)


def _row_miss(book: Book, model: Model, ask: Ask, row: int, where: Where) -> Miss | None:
    here = book.board.rows[row]
    name, kind = book.shards[row].name, int(here[TYPE])
    if not ask.types[kind, ALLOWED]:
        return _not_allowed(book, model, row)
    if here[TENANT] not in (NO_TENANT, ask.tenant):
        return Miss(rule=Rule.TENANTS, subject=name)
    if (where.banned == here[DOMAIN]).any():
        spread = book.scenario.policy.spread
        domain = "shard" if spread == "none" else spread
        return Miss(rule=Rule.SPREAD, subject=domain, need=model.replicas, have=len(where.banned))
    host = next(_host_misses(book, ask, row), None)
    return host if host is not None else _device_miss(book, ask, row, where)


def _host_misses(book: Book, ask: Ask, row: int) -> Iterator[Miss]:
    kind, name = int(book.board.rows[row, TYPE]), book.shards[row].name
    for column, resource in enumerate(book.columns):
        need, have = int(ask.host[kind, column]), int(book.board.host_left[row, column])
        if column == MEMORY and not book.board.host_users[row, ask.backend]:
            need += ask.host_base
        if need > have:
            rule = COLUMN_RULES.get(column, Rule.EXTRA)
            if rule is Rule.MAX_MODELS:  # told as people read it: all that may be there
                most = book.scenario.shard_types[kind].max_models or 0
                need, have = most + need - have, most
            subject = f"{name}/{resource}" if rule is Rule.EXTRA else name
            yield Miss(rule=rule, subject=subject, need=need, have=max(0, have))


def _device_miss(book: Book, ask: Ask, row: int, where: Where) -> Miss | None:
    """Return what is missing on the devices of a shard; None if nothing is."""
    here, name = book.board.rows[row], book.shards[row].name
    first, last = int(here[FIRST]), int(here[LAST])
    free = [
        cell
        for cell in range(first, last)
        if not book.board.cells[cell, EXCLUSIVE] and (ask.seats == 1 or not book.board.cells[cell, CROWD])
    ]
    if len(free) < ask.seats:
        return Miss(rule=Rule.EXCLUSIVE_DEVICES, subject=name, need=ask.seats, have=len(free))
    if where.device != ANYWHERE and first + where.device not in free:
        return Miss(rule=Rule.PIN, subject=f"{name}/{where.device}")
    if not ask.types[int(here[TYPE]), ON_DEVICE]:
        return None
    misses = [_cell_miss(book, ask, cell, f"{name}/{cell - first}") for cell in free]
    if where.device != ANYWHERE:
        pinned = misses[free.index(first + where.device)]
        if pinned is not None:
            return pinned
    if sum(miss is None for miss in misses) >= ask.seats:
        return None
    return min((miss for miss in misses if miss is not None), key=lambda miss: miss.ratio)


def _cell_miss(book: Book, ask: Ask, cell: int, name: str) -> Miss | None:
    board = book.board
    here, wants = board.cells[cell], ask.types[int(board.rows[board.cells[cell, ROW], TYPE])]
    base = 0 if board.device_users[cell, ask.backend] else ask.device_base
    steady, left = int(wants[STEADY]) + base, int(here[MEMORY_LEFT])
    peak = max(0, int(wants[SURPLUS]) - int(here[PEAK_LEAST]))
    if steady > left:
        return Miss(rule=Rule.DEVICE_MEMORY, subject=name, need=steady, have=max(0, left))
    if steady + peak > left - here[PEAK_SUM]:
        have = max(0, left - int(here[PEAK_SUM]))
        return Miss(rule=Rule.STARTABLE, subject=name, need=steady + peak, have=have)
    if wants[MILLI] > here[MILLI_LEFT]:
        return Miss(rule=Rule.DEVICE_TIME, subject=name, need=int(wants[MILLI]), have=int(here[MILLI_LEFT]))
    return None
