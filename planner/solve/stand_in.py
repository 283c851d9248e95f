"""A stand-in: a scenario of a simpler kind, whose plans tell where everything goes in the one that is asked.

The compiled search buys shards for single models at their price. Much that it does not know can be said so:

- identical models that are best run in several ways side by side, as the relaxation says, each run in one;
- models of a ``together`` group are one model that needs on one device what all of them need;
- a shard type on nodes is one that is bought, as often as the nodes have room for it;
- what is limited in number is worth more than it costs: by what one more of it would save, as the
  relaxation's prices say (the shadow price of a binding limit), it is dearer in the stand-in. Else shards of
  one's own, which cost nothing, would be filled with what comes first, and not with what is dear elsewhere.

What a plan of the stand-in says is carried over as far as it is legal.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from planner.domain.fleet import Backend, DeviceClass, Node, Runtime, ShardType
from planner.domain.footprint import Amount, FootprintOption, Quantile, uses_device
from planner.domain.memory import models_json_entry_bytes
from planner.domain.model import Model, options_for
from planner.domain.placement import Placed, Placement
from planner.domain.scenario import Names, Scenario
from planner.solve.guide import Advice
from planner.solve.keeping import packing_like
from planner.solve.packing import Floats, Packing
from planner.solve.problem import Problem, selects
from planner.solve.relaxation import most_shards

SHADOWS, FEW_UNITS = (0.9, 0.97), 4_000
"""The parts of their shadow price that limited shards cost more: they stay a little cheaper than what they
save, so that all of their kind are used. What is best differs, so up to so many units both are tried."""

LEAST_PRICE = 0.02
"""Of the dearest type: what a limited type costs at least, so that what is in it is worth something."""

ODD = 0.1
"""Part of the devices on nodes that may have less room than the stand-in says, as those that others use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Models that are one in the stand-in.

    Parameters
    ----------
    members
        Names.
    options
        For each footprint of the one model, which footprint of each member it is made of.
    """

    members: tuple[str, ...]
    options: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """A scenario that stands for another one.

    Parameters
    ----------
    scenario
        What is solved in its place.
    types
        The shard type that each of its own types stands for, by name.
    zones
        The zone of types that stand for one on nodes, where that matters, by name.
    groups
        What its models stand for, by name; those that are not here stand for themselves.
    """

    scenario: Scenario
    types: dict[str, str]
    zones: dict[str, str | None]
    groups: dict[str, Group]

    def packing(self, problem: Problem, placement: Placement) -> Packing:
        """Return what a placement of the stand-in makes of the problem that it stands for."""
        shards = (
            dataclasses.replace(shard, shard_type=self.types[shard.shard_type]) for shard in placement.shards
        )
        placed = chain.from_iterable(map(self._members_of, placement.placed))
        zones = {
            shard.name: self.zones[shard.shard_type]
            for shard in placement.shards
            if shard.shard_type in self.zones
        }
        return packing_like(problem, Placement(shards=tuple(shards), placed=tuple(placed)), zones)

    def _members_of(self, placed: Placed) -> Iterator[Placed]:
        group = self.groups.get(placed.model)
        if group is None:
            yield placed
            return
        for name, option in zip(group.members, group.options[placed.option], strict=True):
            yield dataclasses.replace(placed, model=name, option=option)


def stand_ins_for(scenario: Scenario, advice: Advice) -> Iterator[StandIn]:
    """Yield what stands for a scenario, to be tried one after the other; nothing where none would be simpler.

    ``advice`` is the relaxation's for the scenario.
    """
    groups = _Groups(scenario, _mixed_ways(advice))
    shadow = _shadow_prices(advice)
    pays = bool(advice.problem.prices[list(advice.guide.types)].any())
    limited = {
        index
        for index, item in enumerate(scenario.shard_types)
        if pays and (shadow[index] > 0 or item.provision != "new")
    }
    if limited:
        few = len(advice.problem.units) <= FEW_UNITS
        yield from (
            _stand_in(scenario, advice, groups, limited, part * shadow) for part in SHADOWS[not few :]
        )
    elif groups.made:
        yield _stand_in(scenario, advice, groups, limited, shadow)


def _stand_in(
    scenario: Scenario, advice: Advice, groups: _Groups, limited: set[int], rents: Floats
) -> StandIn:
    """Return the stand-in in which limited types cost so much more than they do."""
    least = round(LEAST_PRICE * int(advice.problem.prices.max(initial=0)))
    found: list[ShardType] = []
    types: dict[str, str] = {}
    zones: dict[str, str | None] = {}
    for index, item in enumerate(scenario.shard_types):
        price = item.price_microusd_per_h
        if index in limited:
            price = max(price + round(rents[index]), least)
        bought = _bought(scenario, advice, item) if item.provision != "new" and limited else (item,)
        for one in bought:
            found.append(dataclasses.replace(one, price_microusd_per_h=price))
            types[one.name] = item.name
            if item.provision != "new" and scenario.policy.spread == "zone":
                zones[one.name] = one.zone
    policy = scenario.policy
    if limited:
        policy = dataclasses.replace(policy, max_usd_per_h_microusd=None)
    return StandIn(
        scenario=dataclasses.replace(
            scenario,
            shard_types=tuple(found),
            nodes=() if all(item.provision == "new" for item in found) else scenario.nodes,
            models=groups.models,
            backends=groups.backends,
            runtimes=groups.runtimes,
            policy=policy,
        ),
        types=types,
        zones=zones,
        groups=groups.made,
    )


# ------------------------------------------------------------------------------------------------------ types


def _shadow_prices(advice: Advice) -> Floats:
    """Return by how much what a shard of each type offers is worth more than it costs, ``(types,)``.

    That is so only where the number of its shards is limited.
    """
    prices = advice.problem.prices.astype(np.float64)
    found = np.maximum(advice.prices.dimensions.sum(axis=1) - prices, 0.0)
    types = advice.problem.scenario.shard_types
    few = np.array([item.provision != "new" or item.max_count is not None for item in types], dtype=np.bool_)
    return np.asarray(np.where(few & (found > 1e-6 * prices.max(initial=0.0)), found, 0.0))


def _bought(scenario: Scenario, advice: Advice, item: ShardType) -> Iterator[ShardType]:
    """Yield types that are bought in place of one on nodes: one for each zone where that matters."""
    nodes = [node for node in scenario.nodes if selects(item, node)]
    apart = scenario.policy.spread == "zone"
    for zone in sorted({node.zone for node in nodes} if apart else {None}, key=lambda zone: zone or ""):
        there = tuple(node for node in nodes if not apart or node.zone == zone)
        most = most_shards(
            dataclasses.replace(advice.problem, scenario=dataclasses.replace(scenario, nodes=there)), item
        )
        if most:
            yield dataclasses.replace(
                item,
                name=f"{item.name}.{zone}" if apart else item.name,
                provision="new",
                zone=zone,
                node_selector=(),
                min_count=0,
                max_count=most,
                device_memory_bytes=_usable_bytes(item, there, advice.problem.parts),
            )


def _usable_bytes(item: ShardType, nodes: Sequence[Node], parts: Names) -> int | None:
    """Return the memory that a new device needs to offer what those of nodes do, but for a few of them."""
    device_class = parts.device_classes[item.device_class]
    usual = item.device_memory_bytes
    if usual is None:
        usual = device_class.memory_bytes
    usable = sorted(
        (usual if device.memory_bytes is None else device.memory_bytes)
        - (0 if device.reserved_bytes is None else device.reserved_bytes - device_class.reserved_bytes)
        - device.foreign_bytes
        for node in nodes
        for device in node.devices
        if device.device_class == item.device_class
    )
    return usable[int(ODD * len(usable))] if usable else item.device_memory_bytes


# ----------------------------------------------------------------------------------------------------- groups


def _mixed_ways(advice: Advice) -> dict[str, int]:
    """Return the footprints that the relaxation gives models whose kind uses several on a class of device."""
    models, kind = advice.problem.scenario.models, advice.problem.kind
    said: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for unit, option in zip(advice.problem.units, advice.options.tolist(), strict=True):
        if option >= 0:
            model = models[unit.members[0]]
            key = int(kind[unit.members[0]]), model.footprints[option].device_class
            said[key].setdefault(model.name, option)
    mixed = (of_models for of_models in said.values() if len(set(of_models.values())) > 1)
    return {name: option for of_models in mixed for name, option in of_models.items()}


class _Groups:
    """Models with those of each group made one, and the backends and runtimes that go with them."""

    def __init__(self, scenario: Scenario, ways: dict[str, int]) -> None:
        self.scenario, self.ways = scenario, ways
        self.made: dict[str, Group] = {}
        self._backends: dict[tuple[str, ...], Backend] = {}
        grouped: dict[str, list[Model]] = defaultdict(list)
        for model in scenario.models:
            if model.together is not None:
                grouped[model.together].append(model)
        one = {key: self._one(group) for key, group in grouped.items()}
        found = []
        for model in scenario.models:
            merged = None if model.together is None else one[model.together]
            if merged is None:
                found.append(self._narrowed(model))
            elif merged.name == model.name:
                found.append(merged)
        self.models = tuple(found)
        added = self._backends
        self.backends = tuple(sorted((*scenario.backends, *added.values()), key=lambda item: item.name))
        self.runtimes = tuple(self._serving(runtime) for runtime in scenario.runtimes)

    def _serving(self, runtime: Runtime) -> Runtime:
        """Return a runtime that serves the backends of groups, too, if it serves those of all members."""
        if runtime.backends is None:
            return runtime
        more = [item.name for used, item in self._backends.items() if set(used) <= set(runtime.backends)]
        return dataclasses.replace(runtime, backends=(*runtime.backends, *more))

    def _narrowed(self, model: Model) -> Model:
        """Return a model that runs on its class of device in no other way than the relaxation says."""
        said = self.ways.get(model.name)
        if said is None:
            return model
        device_class = model.footprints[said].device_class
        kept = [
            option
            for option, item in enumerate(model.footprints)
            if option == said or item.device_class != device_class
        ]
        self.made[model.name] = Group(members=(model.name,), options=tuple((option,) for option in kept))
        return dataclasses.replace(model, footprints=tuple(model.footprints[option] for option in kept))

    def _one(self, group: Sequence[Model]) -> Model | None:
        """Return the model that stands for a group; None where it has to stay as it is."""
        tenants = {model.tenant for model in group}
        if (
            any(model.pin is not None or model.devices_per_replica > 1 for model in group)
            or (self.scenario.policy.isolate_tenants and len(tenants) > 1)
            or len({model.priority for model in group}) > 1
        ):
            return None
        backends = {item.name: item for item in self.scenario.backends}
        used = tuple(sorted({model.backend for model in group}))
        pays = [backends[model.backend].context_per_instance for model in group]
        ways = list(self._ways(group, pays))
        if not ways:
            return None
        first = group[0]
        self.made[first.name] = Group(
            members=tuple(model.name for model in group), options=tuple(options for _, options in ways)
        )
        return dataclasses.replace(
            first,
            backend=first.backend if len(used) == 1 else self._backend(used, backends),
            storage_uri=_filled(group),
            replicas=min(model.replicas for model in group),
            together=None,
            transformer=None,
            footprints=tuple(footprint for footprint, _ in ways),
        )

    def _backend(self, used: tuple[str, ...], backends: dict[str, Backend]) -> str:
        """Return the name of a backend that costs what all of some cost."""
        if used not in self._backends:
            parts = [backends[name] for name in used]
            self._backends[used] = Backend(
                name="+".join(used),
                device_base_bytes=sum(item.device_base_bytes for item in parts),
                host_base_bytes=sum(item.host_base_bytes for item in parts),
                context_per_instance=any(item.context_per_instance for item in parts),
            )
        return self._backends[used].name

    def _ways(
        self, group: Sequence[Model], pays: Sequence[bool]
    ) -> Iterator[tuple[FootprintOption, tuple[int, ...]]]:
        """Yield what a group needs on each class of device, each member in the least of its ways.

        ``pays`` says which members may pay for the contexts of their processes.
        """
        for device_class in self.scenario.device_classes:
            options = [self._least(model, device_class) for model in group]
            known = tuple(option for option in options if option is not None)
            if len(known) < len(options):
                continue
            parts = [model.footprints[option] for model, option in zip(group, known, strict=True)]
            paying = [item for item, one in zip(parts, pays, strict=True) if one and uses_device(item)]
            if len({item.source in ("declared", "estimated") for item in paying}) < 2:
                yield _sum(parts, paying, device_class, self._loads(device_class)), known

    def _least(self, model: Model, device_class: DeviceClass) -> int | None:
        quantile = self.scenario.policy.quantile
        return min(
            options_for(model, device_class),
            key=lambda option: (
                model.footprints[option].steady_bytes.at(quantile),
                model.footprints[option].device_milli.at(quantile),
                model.footprints[option].cpu_milli.at(quantile),
            ),
            default=None,
        )

    def _loads(self, device_class: DeviceClass) -> int:
        types = self.scenario.shard_types
        return max((t.parallel_loads for t in types if t.device_class == device_class.name), default=1)


def _sum(
    parts: Sequence[FootprintOption],
    paying: Sequence[FootprintOption],
    device_class: DeviceClass,
    loads: int,
) -> FootprintOption:
    """Return what some footprints need together on one device, of which so many load at a time."""
    steady = _added(item.steady_bytes for item in parts)
    extra: dict[str, int] = defaultdict(int)
    for item in parts:
        for name, amount in item.extra:
            extra[name] += amount
    return FootprintOption(
        device_class=device_class.name,
        instances=sum(item.instances for item in paying),
        steady_bytes=steady,
        load_peak_bytes=Amount(
            p50=steady.p50 + _largest_surplus(parts, "p50", loads),
            p95=steady.p95 + _largest_surplus(parts, "p95", loads),
        ),
        device_milli=_added(item.device_milli for item in parts),
        cpu_milli=_added(item.cpu_milli for item in parts),
        memory_bytes=_added(item.memory_bytes for item in parts),
        disk_bytes=_added(item.disk_bytes for item in parts),
        source=(*paying, *parts)[0].source,
        extra=tuple(sorted(extra.items())),
    )


def _largest_surplus(parts: Sequence[FootprintOption], quantile: Quantile, loads: int) -> int:
    """Return what the so many largest take more while they load."""
    surplus = [item.load_peak_bytes.at(quantile) - item.steady_bytes.at(quantile) for item in parts]
    return sum(sorted((max(0, one) for one in surplus), reverse=True)[:loads])


def _added(amounts: Iterable[Amount]) -> Amount:
    known = list(amounts)
    return Amount(p50=sum(item.p50 for item in known), p95=sum(item.p95 for item in known))


def _filled(group: Sequence[Model]) -> str:
    """Return an address so long that the one entry in ``models.json`` is as large as those of all."""
    first, *others = group
    return first.storage_uri + "x" * sum(models_json_entry_bytes(model) for model in others)
