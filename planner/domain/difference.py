"""What separates one plan from another, and one placement plus a difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Plan, Refusal
from planner.domain.services import Service


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Relocation:
    """One replica that both plans place, but not alike: another shard, another device or another option."""

    before: Placed
    after: Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """What has to change for a plan to become another; everything empty when they place alike.

    Parameters
    ----------
    opened, closed
        Shards of only the later and only the earlier plan. One that keeps its name and changes its type, its
        node or its devices is both: it is another pod.
    added, removed
        Replicas that only the later and only the earlier plan places.
    moved
        Replicas that both place, but not alike.
    refused, accepted
        Refusals of only the later and only the earlier plan; one whose numbers changed is both.
    services_opened, services_closed
        Services of only the later and only the earlier plan; one with a pod on another node is both.
    cost_before_microusd_per_h, cost_after_microusd_per_h
        What the plans cost.
    """

    opened: tuple[Shard, ...] = ()
    closed: tuple[Shard, ...] = ()
    added: tuple[Placed, ...] = ()
    removed: tuple[Placed, ...] = ()
    moved: tuple[Relocation, ...] = ()
    refused: tuple[Refusal, ...] = ()
    accepted: tuple[Refusal, ...] = ()
    services_opened: tuple[Service, ...] = ()
    services_closed: tuple[Service, ...] = ()
    cost_before_microusd_per_h: int
    cost_after_microusd_per_h: int

    @property
    def is_empty(self) -> bool:
        """Whether the plans place and refuse alike."""
        return not any(
            (
                *(self.opened, self.closed, self.added, self.removed, self.moved),
                *(self.refused, self.accepted, self.services_opened, self.services_closed),
            )
        )


def diff_plans(before: Plan, after: Plan) -> PlanDiff:
    """Return what separates two plans; both may be of different scenarios."""
    old, new = before.placement, after.placement
    olds = {(placed.model, placed.replica): placed for placed in old.placed}
    news = {(placed.model, placed.replica): placed for placed in new.placed}
    moved = (
        Relocation(before=olds[key], after=news[key])
        for key in olds.keys() & news.keys()
        if olds[key] != news[key]
    )
    return PlanDiff(
        opened=_only_in(new.shards, old.shards),
        closed=_only_in(old.shards, new.shards),
        added=tuple(placed for key, placed in sorted(news.items()) if key not in olds),
        removed=tuple(placed for key, placed in sorted(olds.items()) if key not in news),
        moved=tuple(sorted(moved)),
        refused=_only_refused(after, before),
        accepted=_only_refused(before, after),
        services_opened=tuple(sorted(set(after.services) - set(before.services))),
        services_closed=tuple(sorted(set(before.services) - set(after.services))),
        cost_before_microusd_per_h=before.cost_microusd_per_h,
        cost_after_microusd_per_h=after.cost_microusd_per_h,
    )


def count_moves(before: Placement, after: Placement) -> int:
    """Return how many replicas both placements hold, but not alike.

    That is on another shard, on another device or under another option. A shard that keeps its name but
    changes its type, its node or its devices is another one.
    """
    same_shards = {shard.name for shard in set(before.shards) & set(after.shards)}
    was = {(item.model, item.replica): item for item in before.placed}
    both = ((was[key], item) for item in after.placed if (key := (item.model, item.replica)) in was)
    return sum(old != new or new.shard not in same_shards for old, new in both)


def count_gone(before: Placement, after: Placement, replicas: Mapping[str, int]) -> int:
    """Return how many replicas only the earlier placement holds, of those that models still have."""
    now = {(item.model, item.replica) for item in after.placed}
    return sum(
        item.replica < replicas.get(item.model, 0) and (item.model, item.replica) not in now
        for item in before.placed
    )


def _only_in(shards: tuple[Shard, ...], others: tuple[Shard, ...]) -> tuple[Shard, ...]:
    return tuple(sorted(set(shards) - set(others), key=lambda shard: shard.name))


def _only_refused(plan: Plan, other: Plan) -> tuple[Refusal, ...]:
    known = set(other.refusals)
    return tuple(refusal for refusal in plan.refusals if refusal not in known)


def apply_diff(difference: PlanDiff, placement: Placement) -> Placement:
    """Return the placement that a difference makes of another.

    ``apply_diff(diff_plans(a, b), a.placement) == b.placement``.

    Raises
    ------
    ValueError
        The difference takes away what the placement does not have: it is of another plan.
    """
    leaving = {*difference.removed, *(item.before for item in difference.moved)}
    strangers = [
        *sorted(f"{placed.model}#{placed.replica}" for placed in leaving - set(placement.placed)),
        *sorted(shard.name for shard in set(difference.closed) - set(placement.shards)),
    ]
    if strangers:
        raise ValueError(f"the difference is of another plan: {', '.join(strangers[:3])} is not there")
    staying = (placed for placed in placement.placed if placed not in leaving)
    coming = (*difference.added, *(item.after for item in difference.moved))
    shards = (set(placement.shards) - set(difference.closed)) | set(difference.opened)
    return Placement(
        shards=tuple(sorted(shards, key=lambda shard: shard.name)),
        placed=tuple(sorted((*staying, *coming))),
    )
