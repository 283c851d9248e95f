"""The transformers of a fleet that stand: one service a group for all models that name the same one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Container, Iterable

from planner.controller.fleet import Fleet
from planner.controller.opening import Estate
from planner.domain.placement import Placement, Shard
from planner.domain.services import Service, beside, stand_services, without_shards
from planner.errors import Fault, InputError

Key = tuple[str, str]
"""A group, and a transformer that its models name."""


class Standing:
    """What stands beside the shards of a fleet, and who needs it.

    Parameters
    ----------
    fleet, estate
        The fleet, and the count of what is open of it, from which services take their room.
    """

    def __init__(self, fleet: Fleet, estate: Estate) -> None:
        self._fleet, self._estate = fleet, estate
        self._services: dict[Key, Service] = {}
        self._users: Counter[Key] = Counter()

    @property
    def services(self) -> tuple[Service, ...]:
        """Return what stands, sorted."""
        return tuple(sorted(self._services.values()))

    @property
    def unused(self) -> tuple[Key, ...]:
        """Return what stands and no copy needs, sorted."""
        return tuple(sorted(key for key in self._services if not self._users[key]))

    @property
    def needed(self) -> tuple[Key, ...]:
        """Return what requests of some copy pass through, whether it stands or not, sorted."""
        return tuple(sorted(key for key, users in self._users.items() if users))

    def __contains__(self, key: Key) -> bool:
        return key in self._services

    def is_needed(self, key: Key) -> bool:
        """Return whether requests of some copy pass through a transformer, whether it stands or not."""
        return self._users[key] > 0

    def count(self, key: Key, change: int) -> None:
        """Count a copy whose requests pass through a transformer."""
        self._users[key] += change

    def is_whole(self, service: Service) -> bool:
        """Return whether a service has a node of the fleet for each of its pods, and no others."""
        transformer, nodes = self._fleet.parts.transformers.get(service.transformer), self._fleet.parts.nodes
        if transformer is None or any(name not in nodes for name in service.nodes):
            return False
        return len(service.nodes) == (transformer.replicas if nodes else 0)

    def take(self, service: Service) -> None:
        """Count a service that stands."""
        self._services[service.group, service.transformer] = service
        self._estate.stand(self.services)

    def leave(self, key: Key) -> None:
        """Count a service no more."""
        del self._services[key]
        self._estate.stand(self.services)

    def stand(
        self,
        key: Key,
        shards: Iterable[Shard],
        *,
        closed: Container[str] = frozenset(),
        earlier: Service | None = None,
    ) -> Service:
        """Have a transformer stand for a group, in what the shards and the other services leave.

        Parameters
        ----------
        key
            Which, for whom.
        shards
            All that are counted.
        closed
            Nodes that take no pods.
        earlier
            Where it stood: a pod stays on its node where there is room.

        Raises
        ------
        InputError
            There is no room for it.
        """
        scenario = self._fleet.scenario
        left = without_shards(beside(scenario, self.services), Placement(shards=tuple(shards)))
        nodes = tuple(node for node in left.nodes if node.name not in closed)
        if left.nodes and not nodes:
            raise InputError([Fault(path=f"transformers.{key[1]}", message="every node is closed")])
        known = () if earlier is None else (earlier,)
        (service,) = stand_services(dataclasses.replace(left, nodes=nodes), [key], earlier=known)
        self.take(service)
        return service
