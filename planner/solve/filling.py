"""Shard by shard: open the shard that earns its price best and fill it from what is still to be placed.

What a unit is worth comes from the fluid relaxation (``bounds.values_of_kinds``): a shard whose residents are
worth its price wastes nothing, so the cost above the bound is the sum of what shards fall short. A device is
filled greedily by the dot product of demand and what is left, here (Panigrahy, Talwar,
Uyeda, Wieder: Heuristics for Vector Bin Packing, 2011), first from the backend of its first resident, so that
bases are shared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from planner.solve.openings import Opening
from planner.solve.packing import NO_TENANT, Floats, Packing, Resident
from planner.solve.problem import AMPLE, CONFIG, MEMORY, Bools, Ints, Problem
from planner.solve.watch import Watch

WINDOW = 1024
"""Candidates that a device chooses from at once; more cost time and hardly pack better."""

_LEAST_WORTH = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What models take of each type, one array a type; computed once for a problem.

    Parameters
    ----------
    demand
        ``(models, 2 + columns)``: device memory, device time, what the shard gives.
    surplus
        ``(models,)``: room for loading.
    order
        ``(models,)``: all models, first those that need most room for loading, of these the largest.
    capacity
        ``(2 + columns,)``, at least 1.
    counted
        ``(2 + columns,)``: whether the dimension is limited.
    """

    demand: tuple[Ints, ...]
    surplus: tuple[Ints, ...]
    order: tuple[Ints, ...]
    capacity: tuple[Ints, ...]
    counted: tuple[Bools, ...]


def make_tables(problem: Problem, size: Floats) -> Tables:
    """Return what models take of each type."""
    types = range(len(problem.prices))
    surplus = tuple(problem.modes[0].surplus[problem.kind, index] for index in types)
    capacity = tuple(np.maximum(_capacity(problem, index), 1) for index in types)
    return Tables(
        demand=tuple(_demand_of_type(problem, index) for index in types),
        surplus=surplus,
        order=tuple(np.lexsort((-size, -amounts)) for amounts in surplus),
        capacity=capacity,
        counted=tuple(amounts < AMPLE // 2 for amounts in capacity),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What the relaxation says about units and types.

    Parameters
    ----------
    value
        ``(models,)``: what a replica of the model is worth, in micro-USD an hour.
    size
        ``(models,)``: the largest share of a shard that a replica takes; large ones are placed first.
    home
        ``(units,)``: index of the type that the relaxation puts the unit on; -1 is anywhere.
    types
        Types that the relaxation opens; the others are tried only where these do not help.
    tables
        What models take of each type.
    """

    value: Floats
    size: Floats
    home: Ints
    types: tuple[int, ...]
    tables: Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a device chooses. The defaults did best on fleets of 2,000 to 8,000 models.

    Parameters
    ----------
    reach
        So many models with the most room for loading are tried before all others: a device keeps room for the
        largest of its residents, so models that need much of it belong together.
    alignment
        Exponent of what is left of a dimension: 0 takes the largest, 1 is the dot product.
    kinship
        How much a model is preferred whose room for loading is as large as the device has to keep anyway.
    reluctance
        How much a model is avoided that makes the device keep more room for loading.
    noise
        Random part of the score; 0 is greedy.
    """

    reach: int = 7
    alignment: float = 1.0
    kinship: float = 1.5
    reluctance: float = 1.0
    noise: float = 0.0


BALANCED = Style(reach=0, alignment=3.0, kinship=0.5)
"""Fills all dimensions at once: better than the default where several bind and demands are independent."""


class Pool:
    """Simple units that are not placed yet, by model."""

    def __init__(self, problem: Problem, units: Iterable[int], home: Ints) -> None:
        self.problem, self.home = problem, home
        self.waiting: dict[int, list[int]] = defaultdict(list)
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

    def take(self, model: int, unit: int | None = None) -> int:
        """Take a unit of a model: the one that is asked for, or any."""
        waiting = self.waiting[model]
        taken = waiting.pop() if unit is None else waiting.pop(waiting.index(unit))
        self.count[model] -= 1
        if waiting:
            self.next_home[model] = self.home[waiting[-1]]
        return taken

    def models(self) -> Ints:
        """Return the models that have a unit waiting."""
        return np.flatnonzero(self.count)

    def units(self) -> list[int]:
        """Return all units that wait, in order."""
        return sorted(unit for units in self.waiting.values() for unit in units)


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
    watch
        When to stop; asked before a shard is filled.
    """

    def __init__(  # noqa: PLR0913 - the state, the choice, and until when
        self,
        packing: Packing,
        pool: Pool,
        guide: Guide,
        *,
        style: Style,
        rng: np.random.Generator,
        watch: Watch,
    ) -> None:
        self.packing, self.pool, self.guide = packing, pool, guide
        self.style, self.rng, self.watch = style, rng, watch
        tables = guide.tables
        self._surplus, self._demand = tables.surplus, tables.demand
        self._capacity, self._counted = tables.capacity, tables.counted

    def waiting(self, shard_type: int) -> Ints:
        """Return the models that wait, in the order in which a type takes them."""
        order = self.guide.tables.order[shard_type]
        return np.asarray(order[self.pool.count[order] > 0])

    def at_home(self, shard_type: int) -> Ints:
        """Return the models that wait and have their home on a type, in the order in which it takes them."""
        order = self.guide.tables.order[shard_type]
        here = (self.pool.count[order] > 0) & (self.pool.next_home[order] == shard_type)
        return np.asarray(order[here])

    def fill(self, row: int, models: Ints) -> float:
        """Fill a shard from some models, as ``waiting`` orders them; returns what was put in is worth."""
        packing, worth = self.packing, 0.0
        first = int(packing.first_cell[row])
        for cell in range(first, first + len(packing.opened[row].rooms)):
            worth += self._fill_cell(row, cell, models)
        return worth

    def _fill_cell(self, row: int, cell: int, models: Ints) -> float:
        worth = 0.0
        models = self._fitting(row, cell, self._elsewhere(row, models))
        while len(models):
            backend = self._backend_to_fill(row, cell, models)
            same = models[self.packing.problem.backend[models] == backend]
            worth += self._fill_backend(row, cell, same)
            models = models[self.packing.problem.backend[models] != backend]
            models = self._fitting(row, cell, models)
        return worth

    def _elsewhere(self, row: int, models: Ints) -> Ints:
        """Return those of the models that have no replica in the failure domain of a shard."""
        domain, domains = int(self.packing.domain[row]), self.packing.domains_of_model
        return models[[domain not in domains(model) for model in models.tolist()]] if len(models) else models

    def _backend_to_fill(self, row: int, cell: int, models: Ints) -> int:
        """Return the backend that is on the device already, else that of the model with most to load."""
        packing, backends = self.packing, self.packing.problem.backend[models]
        here = packing.device_users[cell][backends] + packing.host_users[row][backends] > 0
        candidates = models[here] if here.any() else models
        return int(packing.problem.backend[candidates[0]])

    def _fill_backend(self, row: int, cell: int, models: Ints) -> float:
        """Fill a device from models of one backend until none fits."""
        reach = self.style.reach
        worth = self._fill_from(row, cell, models[:reach])
        return worth + self._fill_from(row, cell, self._fitting(row, cell, self.window(models[reach:])))

    def _fill_from(self, row: int, cell: int, models: Ints) -> float:
        """Fill a device from some models until none fits; returns what was put in is worth."""
        worth = 0.0
        while len(models):
            pick = int(np.argmax(self._scores(row, cell, models)))
            model = int(models[pick])
            models = np.delete(models, pick)
            self.packing.place(self.pool.take(model), cell, 0)
            worth += float(self.guide.value[model])
            models = self._fitting(row, cell, models)
        return worth

    def window(self, models: Ints) -> Ints:
        """Return at most ``WINDOW`` models: the first few, and an even sample of the rest."""
        if len(models) <= WINDOW:
            return models
        few = WINDOW // 8
        rest = len(models) - few
        start = int(self.rng.integers(rest))
        step = rest / (WINDOW - few)
        picked = (start + np.floor(np.arange(WINDOW - few) * step).astype(np.int64)) % rest
        return np.asarray(models[np.concatenate((np.arange(few), few + np.sort(picked)))])

    def _scores(self, row: int, cell: int, models: Ints) -> Floats:
        """Return how well each model suits a device; dimensions are added one by one, in a fixed order."""
        packing, shard_type = self.packing, int(self.packing.type_of[row])
        capacity, demand = self._capacity[shard_type], self._demand[shard_type]
        left = np.concatenate(((packing.memory_left[cell], packing.milli_left[cell]), packing.host_left[row]))
        share = np.maximum(left, 0) / capacity
        score = np.zeros(len(models))
        for dimension in np.flatnonzero(self._counted[shard_type]):
            part = demand[models, dimension] / capacity[dimension]
            score += share[dimension] ** self.style.alignment * part
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
        if filler.watch.is_over():
            return
        filler.fill(row, filler.waiting(int(packing.type_of[row])))


def fill_at_home(filler: Filler) -> None:
    """Open shards of every type for the units whose home it is, as long as they fill them."""
    packing, pool, guide = filler.packing, filler.pool, filler.guide
    for shard_type in np.argsort(-packing.problem.prices, kind="stable"):
        while not filler.watch.is_over():
            own = filler.at_home(int(shard_type))
            if (guide.value[own] * pool.count[own]).sum() < packing.problem.prices[shard_type]:
                break
            opening = next(iter(packing.openings.candidates(int(shard_type))), None)
            if opening is None or not _open_and_fill(filler, opening, own):
                break


def _open_and_fill(filler: Filler, opening: Opening, models: Ints) -> bool:
    """Open a shard and fill it, at first from some models, then from all; False if nothing fits."""
    packing = filler.packing
    row = packing.open(opening)
    filler.fill(row, models)
    filler.fill(row, filler.window(filler.waiting(opening.shard_type)))
    if packing.residents[row]:
        return True
    packing.close(row)
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """A shard that was filled and taken back: what it earned of its price, and who was in it."""

    earned: float
    opening: Opening
    residents: tuple[Resident, ...]


def fill_by_worth(filler: Filler) -> None:
    """Open the shard whose content is worth most of its price, until nothing waits or fits."""
    everything = tuple(range(len(filler.packing.problem.prices)))
    while len(filler.pool.models()) and not filler.watch.is_over():
        left = float((filler.guide.value * filler.pool.count).sum())
        dearest = max((float(filler.packing.problem.prices[i]) for i in filler.guide.types), default=0.0)
        best = _best_trial(filler, filler.guide.types if left > 2 * dearest else everything)
        if best is None:
            best = _best_trial(filler, everything)
        if best is None:
            return
        _repeat(filler, best)


def _best_trial(filler: Filler, types: Iterable[int]) -> _Trial | None:
    best: _Trial | None = None
    for shard_type in types:
        for opening in filler.packing.openings.candidates(shard_type):
            trial = _try(filler, opening)
            if trial.residents and (best is None or trial.earned > best.earned):
                best = trial
    return best


def _try(filler: Filler, opening: Opening) -> _Trial:
    """Return what a shard filled now would hold; nothing is changed."""
    packing, pool = filler.packing, filler.pool
    row = packing.open(opening)
    filler.fill(row, filler.window(filler.waiting(opening.shard_type)))
    residents = tuple(packing.residents[row])
    for resident in reversed(residents):
        packing.remove(resident.unit)
        pool.add(resident.unit)
    packing.close(row)
    packing.forget(row)
    worth = sum(float(filler.guide.value[resident.model]) for resident in residents)
    price = float(packing.problem.prices[opening.shard_type])
    earned = (worth + len(residents) * _LEAST_WORTH) / max(price, _LEAST_WORTH)
    return _Trial(earned=earned, opening=opening, residents=residents)


def _repeat(filler: Filler, trial: _Trial) -> None:
    """Open the shard of a trial for good, with the same residents."""
    row = filler.packing.open(trial.opening)
    for resident in trial.residents:
        filler.pool.take(resident.model, resident.unit)
        restored = filler.packing.restore(resident.unit, row, (resident,))
        assert restored
