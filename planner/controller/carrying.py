"""Living plans under another fleet document: everyone stays where he is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from planner.controller.fleet import Fleet
from planner.controller.living import LivingPlan
from planner.domain.fleet import ShardType
from planner.domain.placement import Shard
from planner.domain.services import Service
from planner.errors import Fault, InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some groups of a plan."""

    plan: LivingPlan
    groups: Collection[str]

    def shards(self, found: Iterable[Shard]) -> Iterator[Shard]:
        """Yield those of some shards of the plan that are of the groups, by name."""
        types = self.plan.fleet.parts.shard_types
        for shard in sorted(found, key=lambda item: item.name):
            if types[shard.shard_type].group in self.groups:
                yield shard

    def models(self) -> Iterator[tuple[str, str]]:
        """Yield the models of the groups, each with its group."""
        for group in self.plan.fleet.groups:
            if group in self.groups:
                for name in self.plan.models_of(group):
                    yield name, group


def carried(shares: Iterable[Share], fleet: Fleet) -> LivingPlan:
    """Return shares of plans under another document, as one: the same shards, everyone where he is.

    Raises
    ------
    InputError
        A shard that is open is of a type, or on a node, that the document does not have any more, or a model
        that is placed is of such a backend.
    """
    fresh = LivingPlan(fleet)
    for share in shares:
        _check_backends(share, fleet)
        _check_shards(share, fleet)
        _check_transformers(share, fleet)
        plan = share.plan
        fresh.open(*share.shards(plan.shards.values()))
        for shard in share.shards(plan.closing.values()):
            fresh.keep_closing(shard)
        for service in plan.standing.services:
            if service.group in share.groups:
                _carry(fresh, service)
        for name, group in share.models():
            for copy in plan.copies(name):
                fresh.seat(group, copy.model, copy.placed)
    return fresh


def _carry(fresh: LivingPlan, service: Service) -> None:
    """Have a transformer stand where it stood; where other pods are asked for, as many as possible stay."""
    if service.transformer not in fresh.fleet.parts.transformers:
        return
    if fresh.standing.is_whole(service):
        fresh.standing.take(service)
        return
    try:
        fresh.standing.stand((service.group, service.transformer), fresh.counted, earlier=service)
    except InputError as error:
        raise _refusal(fresh.fleet, *(str(fault) for fault in error.faults)) from error


def _check_transformers(share: Share, fleet: Fleet) -> None:
    for group, name in share.plan.standing.needed:
        if group in share.groups and name not in fleet.parts.transformers:
            what = f"models of group {group} pass through transformer {name!r}"
            raise _refusal(fleet, f"{what}, which is not there any more")


def _check_shards(share: Share, fleet: Fleet) -> None:
    plan = share.plan
    for shard in share.shards(plan.counted):
        known = plan.fleet.parts.shard_types[shard.shard_type]
        kind = fleet.parts.shard_types.get(shard.shard_type)
        if kind is None or kind.group != known.group:
            message = f"shard {shard.name} is open, and its type {shard.shard_type!r} is not there any more"
            raise _refusal(fleet, message)
        other = [field for field, *values in _fixed(known, kind) if values[0] != values[1]]
        if other:
            what = f"its type {kind.name!r} has another {other[0]} now: call a type with others otherwise"
            raise _refusal(fleet, f"shard {shard.name} is open, and {what}")
        if (kind.provision == "existing") != (shard.node is not None):
            raise _refusal(fleet, f"shard {shard.name} is open and its type's provision changed")
        if shard.node is not None and shard.node not in fleet.parts.nodes:
            message = f"shard {shard.name} is on node {shard.node!r}, which is not there any more"
            raise _refusal(fleet, message)


def _fixed(known: ShardType, kind: ShardType) -> tuple[tuple[str, object, object], ...]:
    """Return what of a type does not change under models that are there, as it was and as it is."""
    return (
        ("number of devices", known.device_count, kind.device_count),
        ("class of devices", known.device_class, kind.device_class),
        ("runtime", known.runtime, kind.runtime),
    )


def _check_backends(share: Share, fleet: Fleet) -> None:
    for name, _ in share.models():
        for copy in share.plan.copies(name):
            if copy.model.backend not in fleet.parts.backends:
                what = f"model {name} is placed, and its backend {copy.model.backend!r}"
                raise _refusal(fleet, f"{what} is not there any more")


def _refusal(fleet: Fleet, *messages: str) -> InputError:
    return InputError([Fault(path="", file=fleet.source, message=message) for message in messages])
