"""Which shards may still be opened, where: counts, addresses, budget and what the nodes have left."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from planner.domain.fleet import Node, ShardType
from planner.domain.memory import DeviceRoom, device_room
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.solve.problem import CONFIG, CPU, Problem, selects

UNKNOWN_DOMAIN = 0
"""The one failure domain that all shards of unknown zone share."""

NO_ROW = -1
"""The row of a shard that is not open yet: a domain of its own is new, so it is never one to avoid."""

OWN_DOMAINS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A shard that could be opened.

    Parameters
    ----------
    shard_type
        Index of its type.
    node
        Index of its node; None for a shard that is bought.
    positions
        Positions of its devices on the node, in the shard's order.
    rooms
        What each of its devices offers.
    """

    shard_type: int
    node: int | None
    positions: tuple[int, ...]
    rooms: tuple[DeviceRoom, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit that stands against one more shard, in the unit of its rule."""

    rule: Rule
    subject: str
    need: int
    have: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRoom:
    """What a node has left for shards: the classes of its free devices, and the rest of it."""

    devices: tuple[str, ...]
    cpu_milli: int
    memory_bytes: int
    pods: int


def zone_numbers(scenario: Scenario) -> dict[str, int]:
    """Return the number of the failure domain that each zone is."""
    known = {item.zone for item in scenario.shard_types} | {node.zone for node in scenario.nodes}
    zones = sorted(zone for zone in known if zone is not None)
    return {zone: index + 1 for index, zone in enumerate(zones)}


class Openings:
    """The book of what is open; every answer is as of now."""

    def __init__(self, problem: Problem) -> None:
        scenario = problem.scenario
        self.problem = problem
        self.counts = [0] * len(scenario.shard_types)
        self.pods = 0
        self.shards = 0
        self.cost = 0
        self._cpu = [node.cpu_milli for node in scenario.nodes]
        self._memory = [node.memory_bytes for node in scenario.nodes]
        self._pods = [self.pods_of(node) for node in scenario.nodes]
        self._free = [[True] * len(node.devices) for node in scenario.nodes]
        self._bought = [self._new_rooms(item) for item in scenario.shard_types]
        self._eligible = [
            tuple(i for i, node in enumerate(scenario.nodes) if selects(item, node))
            if item.provision == "existing"
            else ()
            for item in scenario.shard_types
        ]
        empty = problem.host_room[:, [CPU, CONFIG]]  # a shard whose sidecars alone ask too much breaks a rule
        self.sound = [bool((row >= 0).all()) for row in empty]
        self._zone_number = zone_numbers(scenario)

    def pods_of(self, node: Node) -> int:
        """Return how many pods of ours a node may run."""
        pods = self.problem.scenario.cluster.max_pods_per_node if node.pods is None else node.pods
        return max(0, pods - node.pods_in_use)

    def _new_rooms(self, shard_type: ShardType) -> tuple[DeviceRoom, ...]:
        return (self.room(shard_type, None, 0),) * shard_type.device_count

    def room(self, shard_type: ShardType, node: Node | None, position: int) -> DeviceRoom:
        """Return what a device offers to a shard of a type; ``node`` None is a device that is bought."""
        parts = self.problem.parts
        return device_room(
            device_class=parts.device_classes[shard_type.device_class],
            shard_type=shard_type,
            runtime=parts.runtimes[shard_type.runtime],
            policy=self.problem.scenario.policy,
            device=node.devices[position] if node else None,
        )

    # ------------------------------------------------------------------------------------------ questions

    def rooms_of_bought(self, shard_type: int) -> tuple[DeviceRoom, ...]:
        """Return what the devices of a shard of a type offer that is bought."""
        return self._bought[shard_type]

    def limit(self, shard_type: int) -> Limit | None:
        """Return the count, address or budget limit against one more shard of a type, or None."""
        scenario, item = self.problem.scenario, self.problem.scenario.shard_types[shard_type]
        most, count = item.max_count, self.counts[shard_type]
        checks = (
            (Rule.MAX_COUNT, item.name, count + 1, most),
            (Rule.IPS, "plan", self.pods + item.replicas, scenario.cluster.max_ips),
            (Rule.MAX_SHARDS, "plan", self.shards + 1, scenario.policy.max_shards),
            (
                Rule.MAX_COST,
                "plan",
                self.cost + item.price_microusd_per_h,
                scenario.policy.max_usd_per_h_microusd,
            ),
        )
        for rule, subject, need, have in checks:
            if have is not None and need > have:
                return Limit(rule=rule, subject=subject, need=need, have=have)
        return None

    def candidates(self, shard_type: int, avoid: Container[int] = ()) -> Iterator[Opening]:
        """Yield the different shards of a type that may be opened now, outside the domains to avoid.

        Nodes that offer the same in the same zone are represented by the first of them.
        """
        if self.limit(shard_type) is not None or not self.sound[shard_type]:
            return
        item = self.problem.scenario.shard_types[shard_type]
        if item.provision == "new":
            opening = Opening(shard_type=shard_type, node=None, positions=(), rooms=self._bought[shard_type])
            if self.domain(opening, NO_ROW) not in avoid:
                yield opening
            return
        seen: set[object] = set()
        for node in self._eligible[shard_type]:
            found = self.on_node(shard_type, node)
            if found is None or self.domain(found, NO_ROW) in avoid:
                continue
            key = (self.problem.scenario.nodes[node].zone, found.rooms)
            if key not in seen:
                seen.add(key)
                yield found

    def eligible(self, shard_type: int) -> tuple[int, ...]:
        """Return the nodes that shards of a type may stand on, full ones too; none for one that is bought."""
        return self._eligible[shard_type]

    def unused(self, node: int) -> NodeRoom:
        """Return what a node has left now."""
        devices = self.problem.scenario.nodes[node].devices
        return NodeRoom(
            devices=tuple(
                device.device_class for device, free in zip(devices, self._free[node], strict=True) if free
            ),
            cpu_milli=self._cpu[node],
            memory_bytes=self._memory[node],
            pods=self._pods[node],
        )

    def on_node(self, shard_type: int, node: int, positions: tuple[int, ...] | None = None) -> Opening | None:
        """Return the shard of a type that fits on a node now; None if none does.

        Its devices are ``positions``, or the free ones with the most room.
        """
        item = self.problem.scenario.shard_types[shard_type]
        if (
            not self.sound[shard_type]
            or self._pods[node] < 1
            or self._cpu[node] < item.cpu_milli
            or self._memory[node] < item.memory_bytes
            or node not in self._eligible[shard_type]
        ):
            return None
        if not self.problem.is_gpu[shard_type]:
            return Opening(shard_type=shard_type, node=node, positions=(), rooms=self._bought[shard_type])
        chosen = self._free_devices(item, node)
        if positions is not None:
            chosen = list(positions) if set(positions) <= set(chosen) else []
        chosen = chosen[: item.device_count]
        if len(chosen) < item.device_count:
            return None
        where = self.problem.scenario.nodes[node]
        return Opening(
            shard_type=shard_type,
            node=node,
            positions=tuple(chosen),
            rooms=tuple(self.room(item, where, position) for position in chosen),
        )

    def node_limit(self, shard_type: int) -> Limit | None:
        """Return what nodes lack for one more shard of a type, told of the node that lacks least.

        None if some node lacks nothing, or no node is eligible.
        """
        found = [self._lacking(shard_type, node) for node in self._eligible[shard_type]]
        least = min(found, key=len, default=[])
        return least[0] if least else None

    def _lacking(self, shard_type: int, node: int) -> list[Limit]:
        item = self.problem.scenario.shard_types[shard_type]
        checks = [
            (Rule.NODE_PODS, 1, self._pods[node]),
            (Rule.NODE_CPU, item.cpu_milli, self._cpu[node]),
            (Rule.NODE_MEMORY, item.memory_bytes, self._memory[node]),
        ]
        if self.problem.is_gpu[shard_type]:
            checks.insert(0, (Rule.NODE_DEVICES, item.device_count, len(self._free_devices(item, node))))
        return [
            Limit(rule=rule, subject=item.name, need=need, have=have)
            for rule, need, have in checks
            if need > have
        ]

    def _free_devices(self, item: ShardType, node: int) -> list[int]:
        where = self.problem.scenario.nodes[node]
        free = [
            position
            for position, device in enumerate(where.devices)
            if self._free[node][position] and device.device_class == item.device_class
        ]
        rooms = {position: self.room(item, where, position) for position in free}
        return sorted(free, key=lambda p: (rooms[p].fixed_bytes - rooms[p].capacity_bytes, p))

    def domain(self, opening: Opening, row: int) -> int:
        """Return the failure domain of a shard that stands in a row of the packing, as a number."""
        scenario = self.problem.scenario
        item = scenario.shard_types[opening.shard_type]
        if scenario.policy.spread == "zone":
            zone = item.zone if opening.node is None else scenario.nodes[opening.node].zone
            return UNKNOWN_DOMAIN if zone is None else self._zone_number[zone]
        if scenario.policy.spread == "node" and opening.node is not None:
            return -1 - opening.node
        return OWN_DOMAINS + row

    # -------------------------------------------------------------------------------------------- changes

    def take(self, opening: Opening) -> None:
        """Note that a shard was opened."""
        self._change(opening, 1)

    def give_back(self, opening: Opening) -> None:
        """Note that a shard was closed."""
        self._change(opening, -1)

    def _change(self, opening: Opening, sign: int) -> None:
        item = self.problem.scenario.shard_types[opening.shard_type]
        self.counts[opening.shard_type] += sign
        self.shards += sign
        self.pods += sign * item.replicas
        self.cost += sign * item.price_microusd_per_h
        if opening.node is not None:
            self._cpu[opening.node] -= sign * item.cpu_milli
            self._memory[opening.node] -= sign * item.memory_bytes
            self._pods[opening.node] -= sign
            for position in opening.positions:
                self._free[opening.node][position] = sign < 0
