"""Shard by shard: open the shard that earns its price best and fill it from what is still to be placed.

What a unit is worth comes from the fluid relaxation (``bounds.values_of_kinds``): a shard whose residents are
worth its price wastes nothing, so the cost above the bound is the sum of what shards fall short. A device is
filled greedily by the dot product of demand and what is left, weighted by the dual prices (Panigrahy, Talwar,
Uyeda, Wieder: Heuristics for Vector Bin Packing, 2011), first from the backend of its first resident, so that
bases are shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from planner.solve.openings import Opening
from planner.solve.packing import NO_TENANT, Floats, Packing
from planner.solve.problem import AMPLE, CONFIG, MEMORY, Bools, Ints, Problem

WINDOW = 1024
"""Candidates that a device chooses from at once; more cost time and hardly pack better."""

_TINY = 1e-12
_LEAST_WORTH = 1e-3
_MOST_THRIFT = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What the relaxation says about units and types.

    Parameters
    ----------
    value
        ``(models,)``: what a replica of the model is worth, in micro-USD an hour.
    size
        ``(models,)``: the largest share of a shard that a replica takes; large ones are placed first.
    prices
        ``(types, 2 + columns)``: what all of a dimension of a shard is worth.
    home
        ``(units,)``: index of the type that the relaxation puts the unit on; -1 is anywhere.
    types
        Types that the relaxation opens; the others are tried only where these do not help.
    """

    value: Floats
    size: Floats
    prices: Floats
    home: Ints
    types: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a device chooses. The defaults did best on fleets of 1,000 to 4,000 models, by a small margin.

    Parameters
    ----------
    alignment
        Exponent of what is left of a dimension: 0 takes the largest, 1 is the dot product.
    kinship
        How much a model is preferred whose room for loading is as large as the device has to keep anyway.
    reluctance
        How much a model is avoided that makes the device keep more room for loading.
    thrift
        Exponent of a model's worth beyond its plain demand: such models profit from what is paid already.
    noise
        Random part of the score; 0 is greedy.
    """

    alignment: float = 2.0
    kinship: float = 0.6
    reluctance: float = 1.0
    thrift: float = 3.0
    noise: float = 0.0
    reach: int = 0
    seed: bool=True


class Pool:
    """Simple units that are not placed yet, by model."""

    def __init__(self, problem: Problem, units: Iterable[int], home: Ints) -> None:
        self.problem, self.home = problem, home
        self.waiting: list[list[int]] = [[] for _ in problem.scenario.models]
        self.count = np.zeros(len(problem.scenario.models), dtype=np.int64)
        self.next_home = np.full(len(problem.scenario.models), -1, dtype=np.int64)
        for unit in sorted(units, reverse=True):
            self.add(unit)

    def add(self, unit: int) -> None:
        """Put a unit back."""
        model = self.problem.units[unit].members[0]
        self.waiting[model].append(unit)
        self.count[model] += 1
        self.next_home[model] = self.home[unit]

    def take(self, model: int) -> int:
        """Take a unit of a model."""
        self.count[model] -= 1
        unit = self.waiting[model].pop()
        if self.waiting[model]:
            self.next_home[model] = self.home[self.waiting[model][-1]]
        return unit

    def models(self) -> Ints:
        """Return the models that have a unit waiting."""
        return np.flatnonzero(self.count)

    def units(self) -> list[int]:
        """Return all units that wait, in order."""
        return sorted(unit for units in self.waiting for unit in units)


class Filler:
    """Fills devices of a packing from a pool.

    Parameters
    ----------
    packing, pool
        What is changed.
    guide, style
        What units are worth, and how to choose.
    rng
        The source of noise.
    """

    def __init__(
        self, packing: Packing, pool: Pool, guide: Guide, *, style: Style, rng: np.random.Generator
    ) -> None:
        self.packing, self.pool, self.guide = packing, pool, guide
        self.style, self.rng = style, rng
        problem, types = packing.problem, range(len(packing.problem.prices))
        self._surplus = [problem.modes[0].surplus[problem.kind, index] for index in types]
        self._demand = [_demand_of_type(problem, index) for index in types]
        self._capacity = [np.maximum(_capacity(problem, index), 1) for index in types]
        self._counted = [capacity < AMPLE // 2 for capacity in self._capacity]

    def fill(self, row: int, models: Ints) -> float:
        """Fill a shard from some models' waiting units; returns what was put in is worth."""
        packing, worth = self.packing, 0.0
        first = int(packing.first_cell[row])
        for cell in range(first, first + len(packing.opened[row].rooms)):
            worth += self._fill_cell(row, cell, models)
        return worth

    def _fill_cell(self, row: int, cell: int, models: Ints) -> float:
        worth = 0.0
        models = self._fitting(row, cell, models)
        while len(models):
            backend = self._backend_to_fill(row, cell, models)
            same = models[self.packing.problem.backend[models] == backend]
            worth += self._fill_backend(row, cell, same)
            models = models[self.packing.problem.backend[models] != backend]
            models = self._fitting(row, cell, models)
        return worth

    def _backend_to_fill(self, row: int, cell: int, models: Ints) -> int:
        """Return the backend that is on the device already, else that of the largest candidate."""
        packing, backends = self.packing, self.packing.problem.backend[models]
        here = packing.device_users[cell][backends] + packing.host_users[row][backends] > 0
        candidates = models[here] if here.any() else models
        largest = candidates[int(np.argmax(self._surplus[int(packing.type_of[row])][candidates] if self.style.seed else self.guide.size[candidates]))]
        return int(packing.problem.backend[largest])

    def _fill_backend(self, row: int, cell: int, models: Ints) -> float:
        """Fill a device from models of one backend until none fits."""
        near, rest = self._nearest(row, models)
        worth = self._fill_from(row, cell, near)
        return worth + self._fill_from(row, cell, self._fitting(row, cell, self.window(rest)))

    def _nearest(self, row: int, models: Ints) -> tuple[Ints, Ints]:
        """Return the models that need most room for loading, and the others."""
        reach = self.style.reach
        if len(models) <= reach:
            return models, models[:0]
        surplus = self._surplus[int(self.packing.type_of[row])][models]
        order = np.lexsort((models, -self.guide.size[models], -surplus))
        return models[order[:reach]], models[np.sort(order[reach:])]

    def _fill_from(self, row: int, cell: int, models: Ints) -> float:
        """Fill a device from some models until none fits; returns what was put in is worth."""
        worth = 0.0
        while len(models):
            pick = int(np.argmax(self._scores(row, cell, models)))
            model = int(models[pick])
            models = np.delete(models, pick)
            if int(self.packing.domain[row]) in self.packing.domains_of_model(model):
                continue
            self.packing.place(self.pool.take(model), cell, 0)
            worth += float(self.guide.value[model])
            models = self._fitting(row, cell, models)
        return worth

    def window(self, models: Ints) -> Ints:
        """Return at most ``WINDOW`` models: the largest few, and an even sample of the rest."""
        if len(models) <= WINDOW:
            return models
        order = np.argsort(-self.guide.size[models], kind="stable")
        few = WINDOW // 8
        rest = order[few:]
        start = int(self.rng.integers(len(rest)))
        step = len(rest) / (WINDOW - few)
        picked = (start + np.floor(np.arange(WINDOW - few) * step).astype(np.int64)) % len(rest)
        return np.asarray(models[np.concatenate((order[:few], rest[np.sort(picked)]))])

    def _scores(self, row: int, cell: int, models: Ints) -> Floats:
        """Return how well each model suits a device; dimensions are added one by one, in a fixed order."""
        packing, shard_type = self.packing, int(self.packing.type_of[row])
        capacity, demand = self._capacity[shard_type], self._demand[shard_type]
        left = np.concatenate(((packing.memory_left[cell], packing.milli_left[cell]), packing.host_left[row]))
        share = np.maximum(left, 0) / capacity
        score, priced = np.zeros(len(models)), np.full(len(models), _TINY)
        for dimension in np.flatnonzero(self._counted[shard_type]):
            part = demand[models, dimension] / capacity[dimension]
            score += share[dimension] ** self.style.alignment * part
            priced += self.guide.prices[shard_type, dimension] * part
        score *= np.minimum(self.guide.value[models] / priced, _MOST_THRIFT) ** self.style.thrift
        peak = int(packing.peak_sum[cell])
        if peak:
            surplus = self._surplus[shard_type][models]
            score *= 1 + self.style.kinship * (np.minimum(surplus, peak) / peak)
            score -= self.style.reluctance * np.maximum(surplus - peak, 0) / peak * np.abs(score)
        if self.style.noise:
            score *= 1 + self.style.noise * self.rng.random(len(models))
        return score

    def _fitting(self, row: int, cell: int, models: Ints) -> Ints:
        """Return those of the models whose next unit fits on a device now."""
        packing, problem = self.packing, self.packing.problem
        if not len(models) or packing.exclusive[cell]:
            return models[:0]
        shard_type, mode = int(packing.type_of[row]), problem.modes[0]
        demand, backend, kind = (
            self._demand[shard_type][models],
            problem.backend[models],
            problem.kind[models],
        )
        fits = mode.allowed[kind, shard_type] & (self.pool.count[models] > 0)
        on_device = mode.on_device[kind, shard_type]
        base = problem.device_base[backend] * (packing.device_users[cell][backend] == 0)
        peak = np.maximum(mode.surplus[kind, shard_type] - packing.peak_least[cell], 0)
        memory = demand[:, 0] + base + peak + packing.peak_sum[cell]
        fits &= ~on_device | (
            (memory <= packing.memory_left[cell]) & (demand[:, 1] <= packing.milli_left[cell])
        )
        fits &= self._host_fits(row, models, demand, backend)
        return np.asarray(models[fits])

    def _host_fits(self, row: int, models: Ints, demand: Ints, backend: Ints) -> Bools:
        packing, problem = self.packing, self.packing.problem
        left, columns = packing.host_left[row], problem.columns
        fits = np.ones(len(models), dtype=np.bool_)
        for column in range(len(columns)):
            wanted = demand[:, 2 + column]
            if column == MEMORY:
                wanted = wanted + problem.host_base[backend] * (packing.host_users[row][backend] == 0)
            if column == CONFIG:
                wanted = problem.entry_bytes[models]
            if left[column] < AMPLE // 2:
                fits &= wanted <= left[column]
        if packing.tenant[row] != NO_TENANT:
            fits &= problem.tenant[models] == packing.tenant[row]
        return fits


def _demand_of_type(problem: Problem, shard_type: int) -> Ints:
    """Return ``(models, 2 + columns)``: what a replica of each model takes of a device and of the shard."""
    mode = problem.modes[0]
    own = np.stack((mode.steady[:, shard_type], mode.milli[:, shard_type]), axis=1)
    return np.concatenate((own, mode.host[:, shard_type, :]), axis=1)[problem.kind]


def _capacity(problem: Problem, shard_type: int) -> Ints:
    device = (
        problem.device_memory[shard_type] - problem.device_fixed[shard_type],
        problem.device_milli[shard_type],
    )
    return np.concatenate((device, problem.host_room[shard_type]))


# --------------------------------------------------------------------------------------- which shard to open


def fill_open(filler: Filler) -> None:
    """Fill the shards that are open already, those that hold something first."""
    packing = filler.packing
    for row in sorted(packing.open_rows(), key=lambda row: (not packing.residents[row], row)):
        filler.fill(row, filler.pool.models())


def fill_at_home(filler: Filler) -> None:
    """Open shards of every type for the units whose home it is, as long as they fill them."""
    packing, pool, guide = filler.packing, filler.pool, filler.guide
    for shard_type in np.argsort(-packing.problem.prices, kind="stable"):
        while True:
            own = _models_at_home(filler, int(shard_type))
            if guide.value[own] @ pool.count[own] < packing.problem.prices[shard_type]:
                break
            opening = next(iter(packing.openings.candidates(int(shard_type))), None)
            if opening is None or not _open_and_fill(filler, opening, own):
                break


def _models_at_home(filler: Filler, shard_type: int) -> Ints:
    return np.flatnonzero((filler.pool.count > 0) & (filler.pool.next_home == shard_type))


def _open_and_fill(filler: Filler, opening: Opening, models: Ints) -> bool:
    """Open a shard and fill it, at first from some models, then from all; False if nothing fits."""
    packing = filler.packing
    row = packing.open(opening)
    filler.fill(row, models)
    filler.fill(row, filler.window(filler.pool.models()))
    if packing.residents[row]:
        return True
    packing.close(row)
    return False


def fill_by_worth(filler: Filler) -> None:
    """Open the shard whose content is worth most of its price, again and again, until nothing waits or fits."""
    everything = tuple(range(len(filler.packing.problem.prices)))
    while len(filler.pool.models()):
        left = float(filler.guide.value @ filler.pool.count)
        dearest = max((float(filler.packing.problem.prices[i]) for i in filler.guide.types), default=0.0)
        best = _best_opening(filler, filler.guide.types if left > 2 * dearest else everything)
        if best is None:
            best = _best_opening(filler, everything)
        if best is None:
            return
        _open_and_fill(filler, best, filler.pool.models())


def _best_opening(filler: Filler, types: Iterable[int]) -> Opening | None:
    best: tuple[float, Opening] | None = None
    for shard_type in types:
        for opening in filler.packing.openings.candidates(shard_type):
            earned = _trial(filler, opening)
            if earned > 0 and (best is None or earned > best[0]):
                best = (earned, opening)
    return None if best is None else best[1]


def _trial(filler: Filler, opening: Opening) -> float:
    """Return what a shard filled now would hold, as a share of its price; nothing is changed."""
    packing, pool = filler.packing, filler.pool
    row = packing.open(opening)
    state = filler.rng.bit_generator.state
    filler.fill(row, filler.window(pool.models()))
    units = packing.units_in(row)
    worth = sum(float(filler.guide.value[packing.problem.units[unit].members[0]]) for unit in units)
    for unit in reversed(units):
        packing.remove(unit)
        pool.add(unit)
    packing.close(row)
    packing.forget(row)
    filler.rng.bit_generator.state = state
    price = float(packing.problem.prices[opening.shard_type])
    return (worth + len(units) * _LEAST_WORTH) / max(price, _LEAST_WORTH)
