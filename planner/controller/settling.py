"""One model into the living plan: kept where it is, moved, placed anew, or refused with the reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from planner.controller.living import Copy, LivingPlan
from planner.controller.opening import Either, Site, cheapest_site, free_name, outside
from planner.domain.model import Model
from planner.domain.placement import Shard
from planner.domain.rules import UNITS
from planner.domain.services import Service
from planner.errors import Fault, InputError
from planner.online.reasons import Obstacle
from planner.report.placing import obstacle_sentence
from planner.report.words import RULE_NAMES, amount
from planner.solve.openings import Limit

_RELEASED = "no fleet document has group {} any more: nothing new comes to its shards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What else counts when a model is settled.

    Parameters
    ----------
    used
        Names that no new shard may have.
    closed
        Nodes on which nothing is opened.
    fronted
        Whether gateways lead requests through transformers.
    waiting
        Models of the group that wait for a place, this one among them: a new shard is for all of them.
    """

    used: Container[str] = frozenset()
    closed: Container[str] = frozenset()
    fronted: bool = True
    waiting: Sequence[Model] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a model.

    Parameters
    ----------
    touched
        Shards whose contents have changed.
    opened
        Shards that were opened for it.
    stood
        The transformer that was made to stand for it; None for none.
    refused
        Replicas that have no place, or none for what they ask for now.
    reason
        Why, in one sentence; empty if none was refused.
    """

    touched: frozenset[str]
    opened: tuple[Shard, ...]
    refused: int
    reason: str
    stood: Service | None = None


class _Attempt:
    """One model on its way into the plan, and what is changed for it."""

    def __init__(self, plan: LivingPlan, group: str, model: Model, around: Surroundings) -> None:
        self.plan, self.group, self.model, self.around = plan, group, model, around
        self.touched: set[str] = set()
        self.opened: list[Shard] = []
        self.short_of: tuple[Obstacle, ...] = ()
        self.obstacle = ""

    def staying(self) -> list[Copy]:
        """Return the copies that are not on their way out."""
        return [copy for copy in self.plan.copies(self.model.name) if not copy.leaving]

    def drop_surplus(self) -> None:
        """Let go of replicas that are not asked for any more; nothing has to be loaded for that."""
        for copy in self.staying():
            if copy.placed.replica >= self.model.replicas:
                self.plan.unseat(copy)
                self.touched.add(copy.placed.shard)

    def renew(self, copy: Copy) -> None:
        """Book a copy as what the model asks for now: on its devices, on its shard, or on its way out."""
        placed = copy.placed
        self.touched.add(placed.shard)
        self.plan.unseat(copy)
        if _alike(copy.model, self.model):
            self.plan.seat(self.group, self.model, placed)
        elif self.plan.place(self.group, self.model, placed.replica, shard=placed.shard) is None:
            # Asked now: once the old copy is back, it stands in its successor's own way.
            self.short_of = self.plan.obstacles(self.group, self.model, placed.replica)
            self.plan.send_off(self.plan.seat(self.group, copy.model, placed))

    def place(self, replica: int, hint: str | None) -> bool:
        """Find a place for a replica, on a new shard if it has to be."""
        if self._among_open(replica, hint):
            return True
        site = self._site(replica)
        if site is None:
            self.obstacle = self.obstacle or self._why(replica)
            return False
        self.plan.open(site.shard)
        self.opened.append(site.shard)
        self.touched.add(site.shard.name)
        return self._note(self.plan.place(self.group, self.model, replica, shard=site.shard.name))

    def give_up(self, replica: int) -> None:
        """Leave a replica that finds no place for what it asks for now where it was."""
        former = next((copy for copy in self.plan.copies(self.model.name) if copy.leaving), None)
        if former is not None:
            self.plan.call_back(former, replica)

    def _among_open(self, replica: int, hint: str | None) -> bool:
        fellows = self._shards_of_fellows(replica)
        if fellows is not None:
            return any(
                self._note(self.plan.place(self.group, self.model, replica, shard=shard)) for shard in fellows
            )
        first = hint is not None and self._may_be_on(hint)
        tried = self.plan.place(self.group, self.model, replica, shard=hint) if first else None
        return self._note(tried or self.plan.place(self.group, self.model, replica))

    def _shards_of_fellows(self, replica: int) -> list[str] | None:
        """Return where those are that the replica has to be together with; None if it is free to choose."""
        if self.model.together is None:
            return None
        found = self.plan.together(self.group, self.model.together, replica)
        return [shard for shard in found if self._may_be_on(shard)] if found else None

    def _may_be_on(self, shard: str) -> bool:
        here = {copy.placed.shard for copy in self.plan.copies(self.model.name)}
        return (
            shard not in here and shard in self.plan.shards and self.plan.group_of_shard(shard) == self.group
        )

    def _note(self, copy: Copy | None) -> bool:
        if copy is None:
            return False
        self.touched.add(copy.placed.shard)
        return True

    def _site(self, replica: int) -> Site | None:
        plan, group = self.plan, self.group
        if group in plan.fleet.released:
            return None
        if self.model.together is not None and self.plan.together(group, self.model.together, replica):
            return None
        name = free_name(group, Either(plan.shards, self.around.used))
        others = [plan.shards[copy.placed.shard] for copy in plan.copies(self.model.name)]
        sites = outside(plan.estate.sites(group, name, closed=self.around.closed), plan.fleet, others)
        rest = [model for model in self.around.waiting if model.name != self.model.name]
        return cheapest_site(sites, plan.fleet, group, [self.model, *rest])

    def _why(self, replica: int) -> str:
        if self.group in self.plan.fleet.released:
            return _RELEASED.format(self.group)
        found = self.short_of or self.plan.obstacles(self.group, self.model, replica)
        open_ones = "; ".join(obstacle_sentence(item) for item in found[:2])
        limits = "; ".join(dict.fromkeys(map(limit_sentence, self.plan.estate.limits(self.group))))
        none = "an empty shard of the group does not take it either"
        return f"{open_ones or 'no shard is open'}; {limits or none}"


def settle(
    plan: LivingPlan,
    group: str,
    model: Model,
    *,
    hint: str | None = None,
    around: Surroundings | None = None,
) -> Settled:
    """Bring a model's copies to what it asks for.

    A replica that asks for something else stays on its shard where it still fits there; else it goes to
    another, and the old copy stays on its way out. Where nothing takes it, it stays as it was.

    Parameters
    ----------
    plan
        Is changed.
    group, model
        What is to be placed, where.
    hint
        The shard that replica 0 was on, as far as is known; it is tried first.
    around
        What else counts.
    """
    around = around or Surroundings()
    if group in plan.fleet.released and not plan.copies(model.name):
        return Settled(touched=frozenset(), opened=(), refused=model.replicas, reason=_RELEASED.format(group))
    try:
        stood = _stand(plan, group, model, around)
    except InputError as error:
        reason = f"no room for transformer {model.transformer}: {error}"
        return Settled(touched=frozenset(), opened=(), refused=model.replicas, reason=reason)
    attempt = _Attempt(plan, group, model, around)
    attempt.drop_surplus()
    for copy in attempt.staying():
        if copy.model != model:
            attempt.renew(copy)
    there = {copy.placed.replica for copy in attempt.staying()}
    refused = 0
    for replica in range(model.replicas):
        if replica not in there and not attempt.place(replica, hint if replica == 0 else None):
            refused += 1
            attempt.give_up(replica)
    if stood is not None and (group, stood.transformer) in plan.standing.unused:
        plan.standing.leave((group, stood.transformer))
        stood = None
    return Settled(
        touched=frozenset(attempt.touched),
        opened=tuple(attempt.opened),
        refused=refused,
        reason=attempt.obstacle if refused else "",
        stood=stood,
    )


def _stand(plan: LivingPlan, group: str, model: Model, around: Surroundings) -> Service | None:
    """Have what a model's requests pass through stand, before its shard does; None if nothing has to.

    Raises
    ------
    InputError
        There is no room for it, or no gateway that leads requests there.
    """
    if model.transformer is None:
        return None
    if not around.fronted:
        message = "requests pass through it at a gateway of ours; the controller has none (--gateway nginx)"
        raise InputError([Fault(path="transformer", message=message)])
    key = group, model.transformer
    return None if key in plan.standing else plan.standing.stand(key, plan.counted, closed=around.closed)


def release(plan: LivingPlan, name: str, shards: Iterable[str]) -> frozenset[str]:
    """Let copies that are on their way out go; returns the shards that they were on."""
    wanted = set(shards)
    gone = [copy for copy in plan.copies(name) if copy.leaving and copy.placed.shard in wanted]
    for copy in gone:
        plan.unseat(copy)
    return frozenset(copy.placed.shard for copy in gone)


def remove(plan: LivingPlan, name: str) -> frozenset[str]:
    """Let a model go; returns the shards that it was on."""
    copies = plan.copies(name)
    for copy in copies:
        plan.unseat(copy)
    return frozenset(copy.placed.shard for copy in copies)


def limit_sentence(limit: Limit) -> str:
    """Return what stands against one more shard."""
    unit = UNITS.get(limit.rule, "")
    name, need, have = RULE_NAMES[limit.rule], amount(limit.need, unit), amount(limit.have, unit)
    return f"no further shard: {name} of {limit.subject}: needs {need}, has {have}"


def _alike(one: Model, other: Model) -> bool:
    """Return whether two models ask for the same, wherever their files are."""
    files = {"storage_uri": "", "framework": None, "labels": (), "priority": 0, "replicas": 1}
    files |= {"transformer": None}
    return dataclasses.replace(one, **files) == dataclasses.replace(other, **files)  # type: ignore[arg-type]
