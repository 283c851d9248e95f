"""Why something was not placed: the rule that stands against it and the two numbers that do not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from planner.domain.plan import Refusal
from planner.domain.references import in_group
from planner.domain.rules import Rule
from planner.solve.misses import Group, Reason, nearest_misses, takes_alone
from planner.solve.openings import NO_ROW, Limit, Opening
from planner.solve.packing import Packing
from planner.solve.problem import Ints, Problem

_UNTRIED = Reason(rule=Rule.ACCOUNTED, subject="time limit")
"""No rule is known to stand against it: a shard could be opened for it, and the search had no time to."""

_Types = tuple[int, ...]
_Avoid = frozenset[int]


def refusals(packing: Packing, *, stopped: bool = False) -> tuple[Refusal, ...]:
    """Return why every unit that is not placed was refused, one entry a model and reason, sorted.

    Parameters
    ----------
    packing
        What the search has come to.
    stopped
        Whether the clock ended the search: what is not placed may then not have been tried everywhere.
    """
    problem, counted = packing.problem, Counter[tuple[int, Reason]]()
    waiting = _waiting(packing)
    if waiting:
        reasons = _Shortages(packing, stopped=stopped).reasons(list(waiting))
        for (group, count), reason in zip(waiting.items(), reasons, strict=True):
            for model in group.members:
                counted[model, reason] += count
    for model, replicas in problem.impossible:
        counted[model, _fewer_copies(problem, model)] += replicas
    models = problem.scenario.models
    found = [
        Refusal(
            model=models[model].name,
            replicas=count,
            rule=reason.rule,
            subject=reason.subject,
            need=reason.need,
            have=reason.have,
            proven=reason.proven,
        )
        for (model, reason), count in counted.items()
    ]
    return tuple(sorted(found, key=attrgetter("model", "rule", "subject")))


def _waiting(packing: Packing) -> Counter[Group]:
    """Return what is not placed: how many units of each group."""
    units = packing.problem.units
    waiting = (units[unit] for unit, row in enumerate(packing.row_of_unit) if row is None)
    return Counter(Group(one.members, one.pin) for one in waiting)


def _fewer_copies(problem: Problem, model: int) -> Reason:
    key = problem.scenario.models[model].together
    assert key is not None
    return Reason(rule=Rule.TOGETHER, subject=key, proven=True)


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
        self._names = {packing.names[row] for row in packing.open_rows()}
        self._apart = self.problem.scenario.policy.spread in ("node", "zone")
        self._able: dict[tuple[bytes, str | None], _Types] = {}
        self._out: dict[_Types, Reason | None] = {}
        self._limits: dict[int, Limit | None] = {}
        self._offers: dict[int, tuple[dict[int, Opening], ...]] = {}
        self._free: dict[tuple[_Types, _Avoid], tuple[Opening, ...]] = {}
        self._start: dict[int, Ints] = {}

    def reasons(self, groups: Sequence[Group]) -> list[Reason]:
        """Return the best reason of each: what proves it impossible anywhere, else what is short."""
        able = [self._able_types(group) for group in groups]
        lost = [group for group, types in zip(groups, able, strict=True) if not types]
        misses = iter(nearest_misses(self.problem, lost))
        return [
            self._shortage(group, types) if types else next(misses)
            for group, types in zip(groups, able, strict=True)
        ]

    def _able_types(self, group: Group) -> _Types:
        """Return the types whose best empty shard would take each member alone, as they are told."""
        first, *others = group.members
        takes = self._takes[first]
        for model in others:
            takes = takes & self._takes[model]
        key = takes.tobytes(), group.pin
        found = self._able.get(key)
        if found is None:
            types, pin = self.problem.scenario.shard_types, group.pin
            found = self._able[key] = tuple(
                index
                for index in self._order
                if takes[index] and (pin is None or in_group(pin, types[index].group))
            )
        return found

    def _shortage(self, group: Group, able: _Types) -> Reason:
        """Return what keeps the search from opening one more shard for a unit."""
        free = self._free_openings(group, able)
        small = self._too_small(group, free) if free else None
        if self.stopped and free and small is None:
            return _UNTRIED
        if group.pin is not None:
            return Reason(rule=Rule.PIN, subject=group.pin)
        together = self.problem.scenario.models[group.members[0]].together
        if together is not None and any(self._limit(shard_type) is None for shard_type in able):
            # a shard could be opened, and each would fit on it alone
            return Reason(rule=Rule.TOGETHER, subject=together)
        return small or self._ran_out(able) or self._too_few_domains(group)

    def _ran_out(self, able: _Types) -> Reason | None:
        """Return the first limit that stands against one more shard of some types."""
        if able not in self._out:
            limit = next((found for index in able if (found := self._limit(index)) is not None), None)
            self._out[able] = None
            if limit is not None:
                self._out[able] = Reason(limit.rule, limit.subject, need=limit.need, have=limit.have)
        return self._out[able]

    def _too_few_domains(self, group: Group) -> Reason:
        return Reason(
            rule=Rule.SPREAD,
            subject=self.problem.scenario.policy.spread,
            need=self.problem.scenario.models[group.members[0]].replicas,
            have=len(self._domains(group)),
        )

    def _limit(self, shard_type: int) -> Limit | None:
        if shard_type not in self._limits:
            openings = self.packing.openings
            self._limits[shard_type] = openings.limit(shard_type) or openings.node_limit(shard_type)
        return self._limits[shard_type]

    # --------------------------------------------------------------------------------- what may be opened

    def _domains(self, group: Group) -> _Avoid:
        return frozenset(domain for model in group.members for domain in self.packing.domains_of_model(model))

    def _free_openings(self, group: Group, able: _Types) -> tuple[Opening, ...]:
        """Return the shards that could be opened for a unit away from the other replicas of its models."""
        if group.pin is not None and group.pin in self._names:
            return ()  # its shard is open already, and there is no other
        # a new shard is always another shard
        avoid = self._domains(group) if self._apart else frozenset()
        key = (able, avoid)
        if key not in self._free:
            offers = [offer for index in able for offer in self._offers_of(index)]
            found = (_outside(offer, avoid) for offer in offers)
            self._free[key] = tuple(opening for opening in found if opening is not None)
        return self._free[key]

    def _offers_of(self, shard_type: int) -> tuple[dict[int, Opening], ...]:
        """Return the shards of a type that may be opened now: what offers the same, by failure domain."""
        if shard_type not in self._offers:
            self._offers[shard_type] = self._find_offers(shard_type)
        return self._offers[shard_type]

    def _find_offers(self, shard_type: int) -> tuple[dict[int, Opening], ...]:
        openings, nodes = self.packing.openings, self.problem.scenario.nodes
        if openings.limit(shard_type) is not None:
            return ()
        found: list[Opening | None] = list(openings.candidates(shard_type))
        if self.problem.scenario.shard_types[shard_type].provision == "existing":
            found = [openings.on_node(shard_type, node) for node in range(len(nodes))]
        offers: dict[object, dict[int, Opening]] = {}
        for opening in found:
            if opening is not None:
                zone = None if opening.node is None else nodes[opening.node].zone
                domain = openings.domain(opening, NO_ROW)
                offers.setdefault((zone, opening.rooms), {}).setdefault(domain, opening)
        return tuple(offers.values())

    # ------------------------------------------------------------------------------------- what is too small

    def _too_small(self, group: Group, free: tuple[Opening, ...]) -> Reason | None:
        """Return what a unit lacks on every free device, told of the one that lacks least; None if one does.

        A type takes what fits on its best device; what is free may have less room, as other processes hold
        some. All devices that are bought are the best.
        """
        misses = []
        for opening in free:
            if opening.node is None:
                return None
            item = self.problem.scenario.shard_types[opening.shard_type]
            have = max(room.capacity_bytes - room.fixed_bytes for room in opening.rooms)
            start = self._start_bytes(opening.shard_type)
            need = max(int(start[self.problem.kind[model]]) for model in group.members)
            if need <= have:
                return None
            misses.append(Reason(rule=Rule.STARTABLE, subject=item.name, need=need, have=have))
        return min(misses, key=_ratio)

    def _start_bytes(self, shard_type: int) -> Ints:
        """Return the device memory that each kind alone needs while it loads, at the least; ``(kinds,)``."""
        if shard_type not in self._start:
            problem = self.problem
            base = problem.device_base[problem.kind_backend]
            least = np.full(len(base), np.iinfo(np.int64).max)
            for mode in problem.modes:
                need = base + mode.steady[:, shard_type] + mode.surplus[:, shard_type]
                need = np.where(mode.on_device[:, shard_type], need, 0)
                least = np.where(mode.allowed[:, shard_type], np.minimum(least, need), least)
            self._start[shard_type] = least
        return self._start[shard_type]


def _outside(offer: dict[int, Opening], avoid: _Avoid) -> Opening | None:
    return next((opening for domain, opening in offer.items() if domain not in avoid), None)


def _ratio(miss: Reason) -> float:
    assert miss.need is not None
    assert miss.have is not None
    return miss.need / max(miss.have, 1)
