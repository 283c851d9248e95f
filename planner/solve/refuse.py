"""Why something was not placed: the rule that stands against it and the two numbers that do not fit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from planner.domain.model import Model
from planner.domain.plan import Refusal
from planner.domain.references import in_group
from planner.domain.rules import Rule
from planner.solve.misses import Reason, excess, nearest_miss, takes_alone
from planner.solve.openings import Limit, Opening
from planner.solve.packing import Packing
from planner.solve.problem import Problem, Unit

_UNTRIED = Reason(rule=Rule.ACCOUNTED, subject="time limit")
"""No rule is known to stand against it: a shard could be opened for it, and the search had no time to."""

_Types = tuple[int, ...]


def refusals(packing: Packing, *, stopped: bool = False) -> tuple[Refusal, ...]:
    """Return why every unit that is not placed was refused, one entry a model and reason, sorted.

    Parameters
    ----------
    packing
        What the search has come to.
    stopped
        Whether the clock ended the search: what is not placed may then not have been tried everywhere.
    """
    problem = packing.problem
    counted: Counter[tuple[int, Reason]] = Counter()
    waiting = [unit for unit, row in enumerate(packing.row_of_unit) if row is None]
    shortages = _Shortages(packing, stopped=stopped) if waiting else None
    for unit in waiting:
        assert shortages is not None
        reason = shortages.reason(unit)
        counted.update((model, reason) for model in problem.units[unit].members)
    for model, replicas in problem.impossible:
        counted[model, _fewer_copies(problem, model)] += replicas
    found = [
        Refusal(
            model=problem.scenario.models[model].name,
            replicas=count,
            rule=reason.rule,
            subject=reason.subject,
            need=reason.need,
            have=reason.have,
            proven=reason.proven,
        )
        for (model, reason), count in counted.items()
    ]
    return tuple(sorted(found, key=lambda item: (item.model, item.rule.value, item.subject)))


def _fewer_copies(problem: Problem, model: int) -> Reason:
    key = problem.scenario.models[model].together
    assert key is not None
    return Reason(rule=Rule.TOGETHER, subject=key, proven=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A unit that was not placed, one of its models, and the types that would take it, as they are told."""

    index: int
    unit: Unit
    model: Model
    able: _Types


class _Shortages:
    """Reasons of the units of a packing; what many of them have in common is looked up once."""

    def __init__(self, packing: Packing, *, stopped: bool) -> None:
        self.packing, self.problem, self.stopped = packing, packing.problem, stopped
        self._takes = takes_alone(self.problem)
        counts, types = packing.openings.counts, self.problem.scenario.shard_types
        # told of the type that most shards are of, because that is where a reader would look for room
        self._order = sorted(
            range(len(types)), key=lambda index: (-counts[index], types[index].price_microusd_per_h, index)
        )
        self._limits: dict[int, Limit | None] = {}
        self._free: dict[tuple[_Types, frozenset[int]], tuple[Opening, ...]] = {}
        self._alone: dict[tuple[tuple[int, ...], str | None], Reason | None] = {}

    def reason(self, index: int) -> Reason:
        """Return the best reason: what proves it impossible anywhere, else what is in short supply."""
        unit = self.problem.units[index]
        able = self._able(unit)
        if not able:
            key = unit.members, unit.pin
            known = self._alone.get(key)
            if known is None:
                known = self._alone[key] = nearest_miss(self.problem, index)
            return known
        model = self.problem.scenario.models[unit.members[0]]
        return self._shortage(_Wanted(index=index, unit=unit, model=model, able=able))

    def _able(self, unit: Unit) -> _Types:
        """Return the types whose best empty shard would take a unit."""
        types = self.problem.scenario.shard_types
        return tuple(
            index
            for index in self._order
            if all(self._takes[model, index] for model in unit.members)
            and (unit.pin is None or in_group(unit.pin, types[index].group))
        )

    def _shortage(self, wanted: _Wanted) -> Reason:
        """Return what keeps the search from opening one more shard for a unit."""
        free = self._free_openings(wanted)
        small = self._too_small(wanted, free)
        if self.stopped and free and small is None:
            return _UNTRIED
        if wanted.unit.pin is not None:
            return Reason(rule=Rule.PIN, subject=wanted.unit.pin)
        limits = [self._limit(shard_type) for shard_type in wanted.able]
        if wanted.model.together is not None and None in limits:
            # a shard could be opened, and each would fit on it alone
            return Reason(rule=Rule.TOGETHER, subject=wanted.model.together)
        if small is not None:
            return small
        for limit in limits:
            if limit is not None:
                return Reason(rule=limit.rule, subject=limit.subject, need=limit.need, have=limit.have)
        domains = len(set(self.packing.domains(wanted.index)))
        spread = self.problem.scenario.policy.spread
        return Reason(rule=Rule.SPREAD, subject=spread, need=wanted.model.replicas, have=domains)

    def _limit(self, shard_type: int) -> Limit | None:
        if shard_type not in self._limits:
            openings = self.packing.openings
            self._limits[shard_type] = openings.limit(shard_type) or openings.node_limit(shard_type)
        return self._limits[shard_type]

    def _free_openings(self, wanted: _Wanted) -> tuple[Opening, ...]:
        """Return the shards that could be opened for a unit away from the other replicas of its models."""
        pin = wanted.unit.pin
        if pin is not None and any(self.packing.names[row] == pin for row in self.packing.open_rows()):
            return ()  # its shard is open already, and there is no other
        avoid: frozenset[int] = frozenset()
        if self.problem.scenario.policy.spread in ("node", "zone"):  # a new shard is always another shard
            avoid = frozenset(self.packing.domains(wanted.index))
        key = (wanted.able, avoid)
        if key not in self._free:
            candidates = self.packing.openings.candidates
            self._free[key] = tuple(found for index in wanted.able for found in candidates(index, avoid))
        return self._free[key]

    def _too_small(self, wanted: _Wanted, free: tuple[Opening, ...]) -> Reason | None:
        """Return what a unit lacks on every free device, told of the one that lacks least; None if one does.

        A type takes what fits on its best device; what is free may have less room, as other processes hold
        some.
        """
        misses = []
        for opening in free:
            item = self.problem.scenario.shard_types[opening.shard_type]
            have = max(room.capacity_bytes - room.fixed_bytes for room in opening.rooms)
            need = max(_start_bytes(self.problem, model, opening.shard_type) for model in wanted.unit.members)
            if need <= have:
                return None
            misses.append(Reason(rule=Rule.STARTABLE, subject=item.name, need=need, have=have))
        return min(misses, key=excess, default=None)


def _start_bytes(problem: Problem, model: int, shard_type: int) -> int:
    """Return the device memory that a model alone needs while it loads, at the least of its options."""
    kind, base = int(problem.kind[model]), int(problem.device_base[int(problem.backend[model])])
    needs = [
        base + int(mode.steady[kind, shard_type] + mode.surplus[kind, shard_type])
        if mode.on_device[kind, shard_type]
        else 0
        for mode in problem.modes
        if mode.allowed[kind, shard_type]
    ]
    return min(needs, default=0)
