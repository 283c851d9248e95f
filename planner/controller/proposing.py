"""A better plan for a cluster as it stands: what is there, what could be, and what lies between. Pure.

Each group of a fleet is planned by itself, beside the others as they stand: that is how the controller places
too, and a group's proposal can then be carried out alone.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner import __version__
from planner.controller.fleet import Fleet, scenario_of_group
from planner.controller.fleets import Fleets
from planner.controller.living import LivingPlan
from planner.controller.measuring import Measure, Revision, Trust, revised
from planner.controller.objects import Style
from planner.controller.views import ModelView, Object
from planner.controller.wishes import WishError, wish_of
from planner.controller.world import World
from planner.domain.canonical import sha256_of
from planner.domain.difference import PlanDiff, diff_plans
from planner.domain.fleet import DeviceClass, Node, NodeDevice
from planner.domain.footprint import ANY_CLASS
from planner.domain.model import Model, Pin
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Budget, Plan
from planner.domain.scenario import Scenario
from planner.domain.services import Service, beside, used_services, without_shards
from planner.domain.verify import cost_microusd_per_h, verify_placement
from planner.errors import InputError
from planner.scenario.dump import scenario_text
from planner.scenario.load import parse_scenario

_OF_A_MODEL = re.compile(r"spec\.models\[([0-9]+)\]\.?(.*)")
"""The place of a fault, and what of the model it is at."""

_GPUS_OF_NOBODY = "other pods have GPUs that the fleet document counts: {count} of {device_class} on {node}"

_FIRST_SHARD = (
    "shard {group} would close, by whose name TrainedModels come, and no plan was found that keeps it: "
    "KServe deletes a TrainedModel that names an InferenceService which is not there"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A group of a fleet as it stands.

    Parameters
    ----------
    fleet, uid, group
        Which: the ConfigMap of the fleet with its uid, and the group.
    scenario
        All that a plan of it depends on: with the models that TrainedModels ask for, what agents have
        measured, and what nodes have left now.
    now
        Who is where; what stands like that may break rules.
    broken
        How many rules it breaks.
    revisions
        Footprints that were measured to be others.
    remarks
        What was left out, or is not as documents say.
    kept
        The shard that has to stay open, as the controller keeps it: beside KServe the group's first, by whose
        name TrainedModels come; None for none.
    """

    fleet: str
    uid: str
    group: str
    scenario: Scenario
    now: Plan
    broken: int
    revisions: tuple[Revision, ...]
    remarks: tuple[str, ...]
    kept: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A plan for a situation, and what lies between.

    Parameters
    ----------
    situation, plan, difference
        What stands, what is proposed, and what has to change.
    remarks
        The situation's, and what is to be known of the plan.
    """

    situation: Situation
    plan: Plan
    difference: PlanDiff
    remarks: tuple[str, ...]


def propose(situation: Situation, make: Callable[[Scenario, Plan], Plan]) -> Proposal:
    """Return what a solver makes of a situation.

    Parameters
    ----------
    situation
        What there is.
    make
        Makes a plan of a scenario that stays close to an earlier one, as ``make_plan`` does.
    """
    plan = make(situation.scenario, situation.now)
    if _closes(situation, plan):
        plan = _keeping(situation, plan, make)
    difference = diff_plans(situation.now, plan)
    remarks = situation.remarks
    if _closes(situation, plan):
        remarks = (*remarks, _FIRST_SHARD.format(group=situation.group))
    return Proposal(situation=situation, plan=plan, difference=difference, remarks=remarks)


def _closes(situation: Situation, plan: Plan) -> bool:
    """Return whether a plan closes the shard that has to stay."""
    return situation.kept is not None and situation.kept not in {item.name for item in plan.placement.shards}


def _keeping(situation: Situation, plan: Plan, make: Callable[[Scenario, Plan], Plan]) -> Plan:
    """Return a plan that keeps the shard that has to stay, made anew with the largest of its models there.

    What the first plan has proved holds of this one too, which is one of fewer. Where the shard is empty it
    is left as it is. The first plan where that breaks a rule.
    """
    scenario, now, kept = situation.scenario, situation.now, situation.kept
    here = {item.model for item in now.placement.placed if item.shard == kept and item.replica == 0}
    models = [item for item in scenario.models if item.name in here and item.pin is None]
    if models and kept is not None:
        largest = max(models, key=lambda item: max(one.steady_bytes.p95 for one in item.footprints))
        pinned = dataclasses.replace(largest, pin=Pin(shard=kept))
        kinds = tuple(pinned if item is largest else item for item in scenario.models)
        found = make(dataclasses.replace(scenario, models=kinds), now)
    else:
        (shard,) = (item for item in now.placement.shards if item.name == kept)
        shards = tuple(sorted((*plan.placement.shards, shard), key=lambda item: item.name))
        found = dataclasses.replace(plan, placement=dataclasses.replace(plan.placement, shards=shards))
    moves = found.moves
    if moves is not None and plan.moves is not None:
        moves = dataclasses.replace(moves, at_least=plan.moves.at_least)
    cost = cost_microusd_per_h(scenario, found.placement, found.services)
    proved = plan.bound is not None and plan.bound.microusd_per_h == cost
    found = dataclasses.replace(
        found,
        scenario_sha256=plan.scenario_sha256,
        cost_microusd_per_h=cost,
        bound=plan.bound,
        moves=moves,
        status=plan.status if proved or plan.status != "optimal" else "feasible",
    )
    return plan if verify_placement(scenario, found.placement, found.services) else found


def read_world(objects: Mapping[str, Iterable[Object]]) -> World:
    """Return the objects of a cluster, by kind (``world.KINDS``), as they are looked at."""
    world = World()
    for kind, items in objects.items():
        world.replace(kind, items)
    return world


def read_situations(  # noqa: PLR0913 - what there is, part by part
    world: World,
    *,
    namespace: str,
    style: Style | None = None,
    nodes: Callable[[Sequence[DeviceClass]], Sequence[Node]] | None = None,
    measures: Sequence[Measure] = (),
    trust: Trust = "raise",
) -> tuple[tuple[Situation, ...], tuple[str, ...]]:
    """Return the groups of a namespace's fleets that have models, and what is wrong with fleets.

    Parameters
    ----------
    world
        What there is.
    namespace, style
        As the controller has them.
    nodes
        Asked, with the device classes of the fleets, what the cluster has for shards, where a fleet has
        nodes; None takes fleets at their word.
    measures, trust
        What agents have measured, and what that is good for.
    """
    fleets = Fleets(namespace, (style or Style()).mode)
    _, told = fleets.reload(world)
    faults = tuple(f"fleet {item.name}: {item.message}" for item in told if item.level == "Warning")
    scenarios = [plan.fleet.scenario for plan in fleets.plans.values()]
    present = None
    if nodes is not None and any(scenario.nodes for scenario in scenarios):
        present = nodes([item for scenario in scenarios for item in scenario.device_classes])
    found = []
    for source, plan in sorted(fleets.plans.items()):
        uid = world.config_maps[source].uid if source in world.config_maps else ""
        views: dict[str, list[ModelView]] = {group: [] for group in plan.fleet.kept}
        for view in world.models.values():
            wanted = None if view.deleting else fleets.find(view)
            if wanted is not None and wanted[0] is plan and wanted[1] in views:
                views[wanted[1]].append(view)
        for group in plan.fleet.kept:
            reader = _Reader(plan, group, nodes=present, measures=measures, trust=trust)
            if views[group]:
                read = reader.read(views[group], uid=uid)
                stays = fleets.mode == "kserve" and group in plan.shards
                found.append(dataclasses.replace(read, kept=group) if stays else read)
    return tuple(found), faults


class _Reader:
    """Reads one group."""

    def __init__(
        self,
        plan: LivingPlan,
        group: str,
        *,
        nodes: Sequence[Node] | None,
        measures: Sequence[Measure],
        trust: Trust,
    ) -> None:
        self.plan, self.group = plan, group
        self._nodes, self._measures, self._trust = nodes, measures, trust
        self._remarks: list[str] = []

    def read(self, views: Iterable[ModelView], *, uid: str) -> Situation:
        fleet, shards = self.plan.fleet, self.plan.shards_of(self.group)
        wishes = dict(self._wishes(views))
        placed = tuple(sorted(self._placed(wishes)))
        runtimes = {
            shard.name: fleet.parts.runtimes[fleet.parts.shard_types[shard.shard_type].runtime]
            for shard in shards
        }
        models, revisions = revised(
            wishes,
            placed,
            self._measures,
            backends=fleet.parts.backends,
            runtimes=runtimes,
            trust=self._trust,
        )
        scenario = self._readable(models)
        kept = {model.name for model in scenario.models}
        placed = tuple(item for item in placed if item.model in kept)
        placement = Placement(shards=tuple(shards), placed=placed)
        used = set(used_services(scenario, placement))
        services = tuple(
            item for item in self.plan.standing.services if (item.group, item.transformer) in used
        )
        broken = verify_placement(scenario, placement, services)
        return Situation(
            fleet=fleet.source,
            uid=uid,
            group=self.group,
            scenario=scenario,
            now=_plan(scenario, placement, services),
            broken=len(broken),
            revisions=revisions,
            remarks=tuple(self._remarks),
        )

    # --------------------------------------------------------------------------------------------- models

    def _wishes(self, views: Iterable[ModelView]) -> Iterator[tuple[str, Model]]:
        for view in views:
            try:
                yield view.name, wish_of(view, self.plan.fleet, self.group)
            except WishError as error:
                copies = self.plan.copies(view.name)
                what = "it is planned as it was placed" if copies else "it is left out"
                self._remarks.append(f"model {view.name}: {what}: {error}")
                if copies:
                    yield view.name, dataclasses.replace(copies[0].model, replicas=len(copies))

    def _placed(self, wishes: Mapping[str, Model]) -> Iterator[Placed]:
        """Yield the copies that stay and that the models still ask for."""
        for name, model in wishes.items():
            for copy in self.plan.copies(name):
                known = copy.placed.option < len(model.footprints)
                if known and not copy.leaving and copy.placed.replica < model.replicas:
                    yield copy.placed

    # ------------------------------------------------------------------------------------------- scenario

    def _readable(self, models: Mapping[str, Model]) -> Scenario:
        """Return the scenario as its document is read again, without what would have that refused.

        Each wish is sound by itself; what they say of each other need not be. A model that cannot be together
        with others is planned by itself: it may stand, and its room is not to be given away.
        """
        models = dict(models)
        while True:
            scenario = self._scenario(models)
            faulty, others = _faults_of_document(scenario)
            if not faulty:
                self._remarks += [f"the files of group {self.group} are refused: {text}" for text in others]
                return scenario
            for name, text in faulty.items():
                apart = models[name].together is not None
                if apart:
                    models[name] = dataclasses.replace(models[name], together=None)
                else:
                    del models[name]
                what = "it is planned by itself" if apart else "it is left out"
                self._remarks.append(f"model {name}: {what}: {text}")

    def _scenario(self, models: Mapping[str, Model]) -> Scenario:
        """Return the scenario of the group, with exactly the parts that it refers to, as one that is read."""
        fleet = self.plan.fleet
        others = tuple(self.plan.shards[name] for name in sorted(self.plan.shards.keys()))
        others = tuple(shard for shard in others if self.plan.group_of_shard(shard.name) != self.group)
        whole = dataclasses.replace(fleet.scenario, nodes=self._nodes_now(fleet))
        theirs = tuple(item for item in self.plan.standing.services if item.group != self.group)
        left = without_shards(beside(whole, theirs), Placement(shards=others))
        types = scenario_of_group(fleet, self.group).shard_types
        on_nodes = any(item.provision == "existing" for item in types)
        nodes = tuple(_without_seats(node, others, fleet) for node in left.nodes) if on_nodes else ()
        found = tuple(models[name] for name in sorted(models))
        classes = {item.device_class for item in types}
        classes |= {device.device_class for node in nodes for device in node.devices}
        classes |= {option.device_class for model in found for option in model.footprints} - {ANY_CLASS}
        runtimes, backends = {item.runtime for item in types}, {model.backend for model in found}
        through = {model.transformer for model in found}
        return dataclasses.replace(
            left,
            name=self.group,
            shard_types=types,
            nodes=nodes,
            models=found,
            device_classes=tuple(item for item in fleet.scenario.device_classes if item.name in classes),
            runtimes=tuple(item for item in fleet.scenario.runtimes if item.name in runtimes),
            backends=tuple(item for item in fleet.scenario.backends if item.name in backends),
            transformers=tuple(item for item in fleet.scenario.transformers if item.name in through),
        )

    # ---------------------------------------------------------------------------------------------- nodes

    def _nodes_now(self, fleet: Fleet) -> tuple[Node, ...]:
        """Return the fleet's nodes with what they have left now; one that takes no pods has nothing."""
        if self._nodes is None:
            return fleet.scenario.nodes
        there = {node.name: node for node in self._nodes}
        return tuple(self._node_now(node, there.get(node.name)) for node in fleet.scenario.nodes)

    def _node_now(self, node: Node, there: Node | None) -> Node:
        if there is None:
            self._remarks.append(f"node {node.name} takes no pods now: it is planned to be emptied")
            devices = tuple(self._given_away(device) for device in node.devices)
            return dataclasses.replace(node, cpu_milli=0, memory_bytes=0, devices=devices)
        return dataclasses.replace(
            node,
            cpu_milli=there.cpu_milli,
            memory_bytes=there.memory_bytes,
            pods=there.pods,
            pods_in_use=there.pods_in_use,
            devices=tuple(self._devices_now(node, there)),
        )

    def _devices_now(self, node: Node, there: Node) -> Iterator[NodeDevice]:
        """Yield a node's devices; of those that other pods have, as many without room, those of ours last."""
        free = Counter(device.device_class for device in there.devices)
        lacking = Counter(device.device_class for device in node.devices) - free
        for device_class, count in sorted(lacking.items()):
            self._remarks.append(
                _GPUS_OF_NOBODY.format(count=count, device_class=device_class, node=node.name)
            )
        seated = {
            position
            for shard in self.plan.shards.values()
            if shard.node == node.name
            for position in shard.node_devices
        }
        order = sorted(range(len(node.devices)), key=lambda position: (position in seated, -position))
        gone = set()
        for position in order:
            device_class = node.devices[position].device_class
            if lacking[device_class] > 0:
                lacking[device_class] -= 1
                gone.add(position)
        for position, device in enumerate(node.devices):
            yield self._given_away(device) if position in gone else device

    def _given_away(self, device: NodeDevice) -> NodeDevice:
        return _full(device, self.plan.fleet)


def _faults_of_document(scenario: Scenario) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return why a scenario's document would be refused: the first reason of each model, and all others."""
    try:
        parse_scenario(scenario_text(scenario), file=scenario.name)
    except InputError as error:
        faulty: dict[str, str] = {}
        others = []
        for fault in error.faults:
            found = _OF_A_MODEL.fullmatch(fault.path)
            if found is None:
                others.append(f"{fault.path}: {fault.message}")
            else:
                name = scenario.models[int(found[1])].name
                faulty.setdefault(name, f"{found[2]}: {fault.message}" if found[2] else fault.message)
        return faulty, tuple(others)
    return {}, ()


def _full(device: NodeDevice, fleet: Fleet) -> NodeDevice:
    """Return a device all of whose memory somebody else has."""
    total = device.memory_bytes or fleet.parts.device_classes[device.device_class].memory_bytes
    return dataclasses.replace(device, foreign_bytes=total)


def _without_seats(node: Node, others: Iterable[Shard], fleet: Fleet) -> Node:
    """Return a node whose devices that shards of other groups have are full."""
    taken = {position for shard in others if shard.node == node.name for position in shard.node_devices}
    if not taken:
        return node
    devices = (
        _full(device, fleet) if position in taken else device for position, device in enumerate(node.devices)
    )
    return dataclasses.replace(node, devices=tuple(devices))


def _plan(scenario: Scenario, placement: Placement, services: tuple[Service, ...]) -> Plan:
    """Return what stands as a plan: nobody searched for it, and nothing is known of its bound."""
    facts: dict[str, Any] = {
        "name": scenario.name,
        "namespace": scenario.namespace,
        "scenario_sha256": sha256_of(scenario),
        "seed": 0,
        "budget": Budget(work=1),
        "stopped_by_clock": False,
        "versions": (("shardpack", __version__),),
        "status": "feasible",
        "placement": placement,
        "cost_microusd_per_h": cost_microusd_per_h(scenario, placement, services),
        "services": services,
        "bound": None,
        "refusals": (),
    }
    return Plan(**facts)
