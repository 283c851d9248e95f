"""Transformers that stand: one service a group for all of its models that name the same one.

A service takes its place on nodes before shards do, so that to a search its pods are pods of others:
``beside`` returns the scenario that a solver sees.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.domain.fleet import Node, ShardType, Transformer
from planner.domain.footprint import uses_device
from planner.domain.model import Model, options_for
from planner.domain.placement import Placement
from planner.domain.references import in_group
from planner.domain.scenario import Names, Scenario, names
from planner.errors import Fault, InputError
from planner.units import format_bytes, format_usd, quantity_milli

PREDICTOR_URL, PREDICTOR_HOST = "PREDICTOR_URL", "PREDICTOR_HOST"
"""Tell a transformer where the models of its group answer: as ``http://HOST:PORT``, and without
``http://``, as KServe's ``--predictor_host`` takes it."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Service:
    """A transformer that stands for a group.

    Parameters
    ----------
    group, transformer
        Whose models, and what they pass through.
    nodes
        The node of each of its pods, sorted; empty where the scenario has no nodes: then each stands on a
        machine of its own.
    """

    group: str
    transformer: str
    nodes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of its Deployment and its Service."""
        return service_name(self.group, self.transformer)


def service_name(group: str, transformer: str) -> str:
    """Return the name of what stands for a group's models that name a transformer."""
    return f"{group}-transformer-{transformer}"


def possible_groups(scenario: Scenario) -> Iterator[tuple[Model, str, frozenset[str]]]:
    """Yield each model that names a transformer, that name, and the groups whose shards may hold the model.

    A pin leaves one group to a model of one replica. Models that may go to the same places are looked at
    once.
    """
    if not scenario.transformers:
        return
    parts, known = names(scenario), dict[object, frozenset[str]]()
    for model in scenario.models:
        if model.transformer is None:
            continue
        pin = None if model.pin is None or model.replicas > 1 else model.pin.shard
        ways = tuple((option.device_class, uses_device(option)) for option in model.footprints)
        key = model.backend, ways, pin
        if key not in known:
            known[key] = _groups_of(model, pin, scenario, parts)
        yield model, model.transformer, known[key]


def _groups_of(model: Model, pin: str | None, scenario: Scenario, parts: Names) -> frozenset[str]:
    return frozenset(
        item.group
        for item in scenario.shard_types
        if _is_served(model, parts.runtimes[item.runtime].backends)
        and options_for(model, parts.device_classes[item.device_class])
        and (pin is None or in_group(pin, item.group))
    )


def _is_served(model: Model, backends: tuple[str, ...] | None) -> bool:
    return backends is None or model.backend in backends


def wanted_services(scenario: Scenario) -> tuple[tuple[str, str], ...]:
    """Return (group, transformer) of every service that some model may need, sorted."""
    found = {(group, name) for _, name, groups in possible_groups(scenario) for group in groups}
    return tuple(sorted(found))


def all_services(scenario: Scenario) -> tuple[tuple[str, str], ...]:
    """Return (group, transformer) of every service that models which are not known yet may need, sorted."""
    groups = {item.group for item in scenario.shard_types}
    return tuple(sorted((group, item.name) for group in groups for item in scenario.transformers))


def used_services(scenario: Scenario, placement: Placement) -> tuple[tuple[str, str], ...]:
    """Return (group, transformer) of every service that a placement's models need, sorted."""
    through = {model.name: model.transformer for model in scenario.models if model.transformer is not None}
    if not through:
        return ()
    groups = {item.name: item.group for item in scenario.shard_types}
    group_of = {shard.name: groups[shard.shard_type] for shard in placement.shards}
    return tuple(
        sorted(
            {
                (group_of[item.shard], through[item.model])
                for item in placement.placed
                if item.model in through
            }
        )
    )


def services_pods(scenario: Scenario, services: Iterable[Service]) -> int:
    """Return how many pods services have; each takes an address."""
    return sum(item.replicas for item in _transformers(scenario, services))


def services_microusd_per_h(scenario: Scenario, services: Iterable[Service]) -> int:
    """Return what services cost for an hour, in micro-USD."""
    return sum(item.price_microusd_per_h for item in _transformers(scenario, services))


def _transformers(scenario: Scenario, services: Iterable[Service]) -> Iterator[Transformer]:
    known = {item.name: item for item in scenario.transformers}
    return (known[service.transformer] for service in services)


# --------------------------------------------------------------------------------------- where they stand


def stand_services(
    scenario: Scenario, wanted: Iterable[tuple[str, str]], *, earlier: Sequence[Service] = ()
) -> tuple[Service, ...]:
    """Return services with places on nodes, the largest first; what others have of the nodes is taken off.

    Each pod goes onto a node that has none of its service yet, rather than one that has; there, onto one
    without GPUs; there, onto the one with most CPU left.

    Parameters
    ----------
    scenario
        Its nodes are what is left for services and shards.
    wanted
        (group, transformer) of each.
    earlier
        Where services stand now: a pod stays where there is still room for it.

    Raises
    ------
    InputError
        A pod fits on no node, or the addresses or the money do not suffice even for the services.
    """
    known = {item.name: item for item in scenario.transformers}
    was = {(item.group, item.transformer): item.nodes for item in earlier}
    order = sorted(wanted, key=lambda key: (-known[key[1]].cpu_milli, -known[key[1]].memory_bytes, key))
    rooms = {node.name: _Room.of(node, scenario) for node in scenario.nodes}
    found = []
    for group, name in order:
        nodes = _seats(known[name], rooms, was.get((group, name), ()), service_name(group, name))
        found.append(Service(group=group, transformer=name, nodes=nodes))
    services = tuple(sorted(found))
    _refuse_excess(scenario, services)
    return services


@dataclass(slots=True, kw_only=True)
class _Room:
    """What a node has left."""

    has_devices: bool
    cpu_milli: int
    memory_bytes: int
    pods: int

    @classmethod
    def of(cls, node: Node, scenario: Scenario) -> _Room:
        pods = scenario.cluster.max_pods_per_node if node.pods is None else node.pods
        return cls(
            has_devices=bool(node.devices),
            cpu_milli=node.cpu_milli,
            memory_bytes=node.memory_bytes,
            pods=pods - node.pods_in_use,
        )

    def takes(self, transformer: Transformer) -> bool:
        return (
            self.pods > 0
            and self.cpu_milli >= transformer.cpu_milli
            and self.memory_bytes >= transformer.memory_bytes
        )


def _seats(
    transformer: Transformer, rooms: Mapping[str, _Room], earlier: Sequence[str], service: str
) -> tuple[str, ...]:
    """Return a node for each pod of a service, and take what it needs off the rooms."""
    if not rooms:
        return ()
    here: Counter[str] = Counter()
    stay = [name for name in earlier[: transformer.replicas] if name in rooms]
    for number in range(transformer.replicas):
        wish = stay[number] if number < len(stay) and rooms[stay[number]].takes(transformer) else None
        fitting = [name for name, room in rooms.items() if room.takes(transformer)]
        if not fitting:
            message = (
                f"{number} of {transformer.replicas} pods of {quantity_milli(transformer.cpu_milli)} CPU and"
                f" {format_bytes(transformer.memory_bytes)} fit on the nodes for service {service!r}"
            )
            raise InputError([Fault(path=f"transformers.{transformer.name}.replicas", message=message)])
        name = wish or min(fitting, key=lambda name: _preference(name, rooms[name], here))
        here[name] += 1
        rooms[name].cpu_milli -= transformer.cpu_milli
        rooms[name].memory_bytes -= transformer.memory_bytes
        rooms[name].pods -= 1
    return tuple(sorted(here.elements()))


def _preference(name: str, room: _Room, here: Counter[str]) -> tuple[int, bool, int, int, str]:
    return here[name], room.has_devices, -room.cpu_milli, -room.memory_bytes, name


def _refuse_excess(scenario: Scenario, services: Sequence[Service]) -> None:
    """Raise where services alone are beyond a limit of the whole."""
    faults = []
    pods, most_ips = services_pods(scenario, services), scenario.cluster.max_ips
    if most_ips is not None and pods > most_ips:
        message = f"the services of the transformers take {pods} addresses, and there are {most_ips}"
        faults.append(Fault(path="cluster.maxIPs", message=message))
    price, most = services_microusd_per_h(scenario, services), scenario.policy.max_usd_per_h_microusd
    if most is not None and price > most:
        message = f"the services of the transformers cost {format_usd(price)} USD/h of {format_usd(most)}"
        faults.append(Fault(path="policy.limits.maxCostPerHour", message=message))
    if faults:
        raise InputError(faults)


# ------------------------------------------------------------------------------------------ what they leave


def beside(scenario: Scenario, services: Sequence[Service]) -> Scenario:
    """Return a scenario in which services are somebody else's pods: what is left of it is for shards.

    Nodes have less CPU, memory and pods, and the whole fewer addresses and less money to spend.
    """
    if not services:
        return scenario
    known = {item.name: item for item in scenario.transformers}
    return _without(
        scenario,
        ((name, known[service.transformer]) for service in services for name in service.nodes),
        addresses=services_pods(scenario, services),
        microusd_per_h=services_microusd_per_h(scenario, services),
    )


def without_shards(scenario: Scenario, placement: Placement) -> Scenario:
    """Return a scenario in which a placement's shards are somebody else's: what is left is for services."""
    types = {item.name: item for item in scenario.shard_types}
    opened = [(shard.node, types[shard.shard_type]) for shard in placement.shards]
    return _without(
        scenario,
        ((name, item) for name, item in opened if name is not None),
        addresses=sum(item.replicas for _, item in opened),
        microusd_per_h=sum(item.price_microusd_per_h for _, item in opened),
    )


def _without(
    scenario: Scenario,
    pods: Iterable[tuple[str, ShardType | Transformer]],
    *,
    addresses: int,
    microusd_per_h: int,
) -> Scenario:
    """Return a scenario without what some pods take of nodes, and all of them of the whole."""
    here: dict[str, list[ShardType | Transformer]] = defaultdict(list)
    for name, pod in pods:
        here[name].append(pod)
    most_ips, most = scenario.cluster.max_ips, scenario.policy.max_usd_per_h_microusd
    cluster, policy = scenario.cluster, scenario.policy
    if most_ips is not None:
        cluster = dataclasses.replace(cluster, max_ips=most_ips - addresses)
    if most is not None:
        policy = dataclasses.replace(policy, max_usd_per_h_microusd=most - microusd_per_h)
    nodes = tuple(
        dataclasses.replace(
            node,
            cpu_milli=node.cpu_milli - sum(pod.cpu_milli for pod in here[node.name]),
            memory_bytes=node.memory_bytes - sum(pod.memory_bytes for pod in here[node.name]),
            pods_in_use=node.pods_in_use + len(here[node.name]),
        )
        if node.name in here
        else node
        for node in scenario.nodes
    )
    return dataclasses.replace(scenario, nodes=nodes, cluster=cluster, policy=policy)
