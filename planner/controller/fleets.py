"""All fleets of a namespace and their living plans; documents may change while models are placed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from planner.controller.fleet import Fleet, is_fleet, read_fleet
from planner.controller.living import LivingPlan
from planner.controller.objects import Mode
from planner.controller.restoring import lost_shards, restore
from planner.controller.views import ConfigMapView, ModelView
from planner.controller.wishes import group_of
from planner.controller.world import World
from planner.controller.writes import Level, Told
from planner.domain.references import in_group
from planner.domain.services import Service
from planner.errors import Fault, InputError
from planner.manifests.deployment import STANDALONE_SERVERS
from planner.manifests.inferenceservice import SERVERS

_log = logging.getLogger(__name__)
_LONGEST = 900
"""Characters of an event's message: Kubernetes takes 1,024."""


class Fleets:
    """The fleets of a namespace.

    Parameters
    ----------
    namespace
        Which.
    mode
        By what shards are opened.
    """

    def __init__(self, namespace: str, mode: Mode) -> None:
        self._namespace = namespace
        self._mode = mode
        self.plans: dict[str, LivingPlan] = {}
        self.untaken: set[str] = set()
        """Documents with faults, of which none was taken before."""
        self._read: dict[str, str] = {}
        self._faults: dict[str, str] = {}

    def find(self, view: ModelView) -> tuple[LivingPlan, str] | None:
        """Return the fleet and the group that a TrainedModel belongs to; None where it is none of ours."""
        for plan in self.plans.values():
            group = group_of(view, plan.fleet)
            if group is not None:
                return plan, group
        return None

    def holding(self, name: str) -> tuple[LivingPlan, str] | None:
        """Return the fleet and the group that have a copy of a model."""
        for plan in self.plans.values():
            group = plan.group_of_model(name)
            if group is not None:
                return plan, group
        return None

    def with_shard(self, shard: str) -> LivingPlan | None:
        """Return the plan that a shard is open in."""
        return next((plan for plan in self.plans.values() if shard in plan.shards), None)

    def reload(self, world: World) -> tuple[list[LivingPlan], list[Told]]:
        """Read the fleet documents that have changed, and those that were refused: a group may be free now.

        One with faults changes nothing: what was read before goes on, as it does where a document is gone,
        until another offers its groups. Of two that offer one group the older has it, so that a restart
        changes nothing.

        Returns
        -------
        The plans that are new, and what is to be told.
        """
        found = [view for view in world.config_maps.values() if is_fleet(view)]
        found.sort(key=lambda view: (view.created, view.name))
        there = {view.name for view in found}
        for name in self._read.keys() - there:
            del self._read[name]
            self._faults.pop(name, None)
        wanted: list[tuple[ConfigMapView, Fleet]] = []
        faults: dict[str, str] = {}
        changed = {view.name for view in found if self._read.get(view.name) != str(view.data)}
        for view in found:
            if view.name not in changed and view.name not in self._faults:
                continue
            self._read[view.name] = str(view.data)
            try:
                wanted.append((view, self._fleet(view)))
            except InputError as error:
                faults[view.name] = str(error)
        taken = self._take_all(wanted, world, there, faults)
        told = [_read_event(view, self.plans[view.name]) for view in taken]
        for view in found:
            fault = faults.get(view.name)
            if fault is not None and (view.name in changed or self._faults.get(view.name) != fault):
                told.append(_told(view, "Warning", "BadFleet", fault))
                _log.warning("fleet %s is not taken, what was there before goes on: %s", view.name, fault)
        self._faults = faults
        self.untaken = faults.keys() - self.plans.keys()
        return [self.plans[view.name] for view in taken], told

    def _take_all(
        self,
        wanted: list[tuple[ConfigMapView, Fleet]],
        world: World,
        there: Collection[str],
        faults: dict[str, str],
    ) -> list[ConfigMapView]:
        """Take whatever can be taken, the oldest first, and again after each: it may have let a group go."""
        taken: list[ConfigMapView] = []
        position = 0
        while position < len(wanted):
            view, fleet = wanted[position]
            try:
                self._take(view, fleet, world, there)
            except InputError as error:
                faults[view.name] = str(error)
                position += 1
                continue
            faults.pop(view.name, None)
            taken.append(view)
            del wanted[position]
            position = 0
        return taken

    def _take(self, view: ConfigMapView, fleet: Fleet, world: World, there: Collection[str]) -> None:
        """Have a document rule its groups, also those of one that is gone: everyone stays where he is."""
        heirs = [view.name] if view.name in self.plans else []
        for source, plan in self.plans.items():
            alike = _alike(fleet.groups, plan.fleet.groups)
            if source == view.name or alike is None:
                continue
            if source in there:
                ours, theirs = alike
                what = "is" if ours == theirs else f"and {theirs!r} name shards alike, and that is"
                raise InputError([_fault(view, f"group {ours!r} {what} of fleet {source!r} already")])
            heirs.append(source)
        known = [self.plans[source] for source in heirs]
        if known:
            fresh = carried(known, fleet, view)
        else:
            lost = sorted(set(lost_shards(fleet, world)))
            if lost:
                raise InputError([_fault(view, message) for message in lost])
            fresh = restore(fleet, world)
        for source in heirs:
            del self.plans[source]
        self.plans[view.name] = fresh

    def _fleet(self, view: ConfigMapView) -> Fleet:
        with_kserve = self._mode == "kserve"
        return read_fleet(
            view,
            namespace=self._namespace,
            servers=SERVERS if with_kserve else STANDALONE_SERVERS,
            counts_memory=with_kserve,
        )


def _alike(ours: Iterable[str], theirs: Collection[str]) -> tuple[str, str] | None:
    """Return the first two groups that are the same, or of which one is called like a shard of the other."""
    pairs = ((one, other) for one in ours for other in theirs)
    return next((pair for pair in pairs if in_group(*pair) or in_group(*reversed(pair))), None)


def carried(plans: Iterable[LivingPlan], fleet: Fleet, view: ConfigMapView) -> LivingPlan:
    """Return plans under another document, as one: the same shards, everyone where he is.

    Raises
    ------
    InputError
        A shard that is open is of a type, or on a node, that the document does not have any more, or a model
        that is placed is of such a backend.
    """
    fresh = LivingPlan(fleet)
    for plan in plans:
        _check_backends(plan, fleet, view)
        _check_shards(plan, fleet, view)
        _check_transformers(plan, fleet, view)
        for name in sorted(plan.shards):
            fresh.open(plan.shards[name])
        for name in sorted(plan.closing):
            fresh.keep_closing(plan.closing[name])
        for service in plan.standing.services:
            _carry(fresh, service, view)
        for name in list(plan.models()):
            group = plan.group_of_model(name)
            for copy in plan.copies(name):
                if group is not None:
                    fresh.seat(group, copy.model, copy.placed)
    return fresh


def _carry(fresh: LivingPlan, service: Service, view: ConfigMapView) -> None:
    """Have a transformer stand where it stood; where other pods are asked for, as many as possible stay."""
    if service.transformer not in fresh.fleet.parts.transformers:
        return
    if fresh.standing.is_whole(service):
        fresh.standing.take(service)
        return
    try:
        fresh.standing.stand((service.group, service.transformer), fresh.counted, earlier=service)
    except InputError as error:
        raise InputError([_fault(view, str(fault)) for fault in error.faults]) from error


def _check_transformers(plan: LivingPlan, fleet: Fleet, view: ConfigMapView) -> None:
    for group, name in plan.standing.needed:
        if name not in fleet.parts.transformers:
            what = f"models of group {group} pass through transformer {name!r}"
            raise InputError([_fault(view, f"{what}, which is not there any more")])


def _check_shards(plan: LivingPlan, fleet: Fleet, view: ConfigMapView) -> None:
    for shard in (*plan.shards.values(), *plan.closing.values()):
        known = plan.fleet.parts.shard_types[shard.shard_type]
        kind = fleet.parts.shard_types.get(shard.shard_type)
        if kind is None or kind.group != known.group:
            message = f"shard {shard.name} is open, and its type {shard.shard_type!r} is not there any more"
            raise InputError([_fault(view, message)])
        if kind.device_count < known.device_count:
            raise InputError([_fault(view, f"shard {shard.name} is open with more devices")])
        if (kind.provision == "existing") != (shard.node is not None):
            raise InputError([_fault(view, f"shard {shard.name} is open and its type's provision changed")])
        if shard.node is not None and shard.node not in fleet.parts.nodes:
            message = f"shard {shard.name} is on node {shard.node!r}, which is not there any more"
            raise InputError([_fault(view, message)])


def _check_backends(plan: LivingPlan, fleet: Fleet, view: ConfigMapView) -> None:
    for name in plan.models():
        for copy in plan.copies(name):
            if copy.model.backend not in fleet.parts.backends:
                what = f"model {name} is placed, and its backend {copy.model.backend!r}"
                raise InputError([_fault(view, f"{what} is not there any more")])


def _fault(view: ConfigMapView, message: str) -> Fault:
    return Fault(path="", file=view.name, message=message)


def _read_event(view: ConfigMapView, plan: LivingPlan) -> Told:
    return _told(view, "Normal", "FleetRead", f"groups {', '.join(plan.fleet.groups)}")


def _told(view: ConfigMapView, level: Level, reason: str, message: str) -> Told:
    return Told(
        kind="ConfigMap",
        name=view.name,
        uid=view.uid,
        level=level,
        reason=reason,
        message=message[:_LONGEST],
    )
