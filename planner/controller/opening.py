"""Which shard is opened when a model fits into none: the type that is cheapest for those that wait."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count

from planner.controller.fleet import Fleet, scenario_of_group
from planner.domain.fleet import ShardType
from planner.domain.model import Model
from planner.domain.placement import Placement, Shard
from planner.domain.services import Service, beside
from planner.domain.verify import domain_of
from planner.online.placer import Placer
from planner.solve.openings import Limit, Opening, Openings
from planner.solve.problem import make_problem

MOST_TRIED = 256
"""Models that wait of which a type is judged by: about as many as a shard holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A shard that may be opened, and the entry of the book that it would become."""

    shard: Shard
    opening: Opening
    price_microusd_per_h: int


class Estate:
    """What is open of a fleet, counted against its limits, its budget and its nodes.

    Parameters
    ----------
    fleet
        The fleet.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._book = Openings(make_problem(fleet.scenario))
        self._types = fleet.scenario.shard_types
        self._number = {item.name: index for index, item in enumerate(self._types)}
        self._node = {node.name: index for index, node in enumerate(fleet.scenario.nodes)}
        self._taken: dict[str, Opening] = {}

    def stand(self, services: Sequence[Service]) -> None:
        """Count the pods of transformers, and no others: what they leave is for shards."""
        self._book = Openings(make_problem(beside(self._fleet.scenario, services)))
        for opening in self._taken.values():
            self._book.take(opening)

    def take(self, shard: Shard) -> None:
        """Count a shard that is open."""
        kind = self._number[shard.shard_type]
        node = None if shard.node is None else self._node[shard.node]
        rooms = self._book.rooms_of_bought(kind)
        opening = Opening(shard_type=kind, node=node, positions=shard.node_devices, rooms=rooms)
        self._book.take(opening)
        self._taken[shard.name] = opening

    def give_back(self, shard: Shard) -> None:
        """Count a shard no more."""
        self._book.give_back(self._taken.pop(shard.name))

    def count(self, shard_type: str) -> int:
        """Return how many shards of a type are open."""
        return self._book.counts[self._number[shard_type]]

    def sites(self, group: str, name: str, *, closed: Container[str]) -> Iterator[Site]:
        """Yield one shard of every type of a group that may be opened now; on nodes one a node.

        Parameters
        ----------
        group, name
            The group, and what the shard would be called.
        closed
            Nodes on which nothing is opened.
        """
        for item in self._types:
            if item.group == group:
                for opening in self._openings(item, closed):
                    yield Site(
                        shard=self._shard(name, item, opening),
                        opening=opening,
                        price_microusd_per_h=item.price_microusd_per_h,
                    )

    def limits(self, group: str) -> Iterator[Limit]:
        """Yield what stands against one more shard of each type of a group."""
        for index, item in enumerate(self._types):
            if item.group != group:
                continue
            found = self._book.limit(index)
            if found is None and item.provision == "existing":
                found = self._book.node_limit(index)
            if found is not None:
                yield found

    def _openings(self, item: ShardType, closed: Container[str]) -> Iterator[Opening]:
        kind, nodes = self._number[item.name], self._fleet.scenario.nodes
        if item.provision == "new":
            yield from self._book.candidates(kind)
        elif self._book.limit(kind) is None:
            for index, node in enumerate(nodes):
                found = None if node.name in closed else self._book.on_node(kind, index)
                if found is not None:
                    yield found

    def _shard(self, name: str, item: ShardType, opening: Opening) -> Shard:
        node = None if opening.node is None else self._fleet.scenario.nodes[opening.node].name
        return Shard(name=name, shard_type=item.name, node=node, node_devices=opening.positions)


def cheapest_site(sites: Iterable[Site], fleet: Fleet, group: str, waiting: Sequence[Model]) -> Site | None:
    """Return the shard that costs least for each model that it takes of those that wait.

    Of equal ones it is the one that takes more, then the first. Each takes them in their order. None if none
    takes the first.

    Parameters
    ----------
    sites
        What may be opened. Of those of one type that offer the same rooms only the first is looked at.
    waiting
        The first of them has to fit; none is any shard's price alone.
    """
    different: dict[object, Site] = {}
    for site in sites:
        different.setdefault((site.opening.shard_type, site.opening.rooms), site)
    # Where there is no choice it only has to take the first.
    judges = waiting if len(different) > 1 else waiting[:1]
    best: tuple[float, int, int] | None = None
    found: Site | None = None
    for index, site in enumerate(different.values()):
        taken = taken_by(site.shard, fleet, group, judges) if judges else 1
        key = (site.price_microusd_per_h / max(1, taken), -taken, index)
        if taken and (best is None or key < best):
            best, found = key, site
    return found


def taken_by(shard: Shard, fleet: Fleet, group: str, waiting: Sequence[Model]) -> int:
    """Return how many of the models that wait an empty shard takes; 0 if it does not take the first."""
    placer = Placer(scenario_of_group(fleet, group), Placement(shards=(shard,)))
    taken = 0
    for index, model in enumerate(waiting[:MOST_TRIED]):
        if placer.place_replica(model, 0) is not None:
            taken += 1
        elif index == 0:
            return 0
    return taken


def outside(sites: Iterable[Site], fleet: Fleet, others: Iterable[Shard]) -> Iterator[Site]:
    """Yield the sites that share no failure domain with some shards."""
    banned = {domain_of(shard, fleet.scenario, fleet.parts) for shard in others}
    for site in sites:
        if domain_of(site.shard, fleet.scenario, fleet.parts) not in banned:
            yield site


class Either:
    """Names that are in one of two collections."""

    def __init__(self, one: Container[str], other: Container[str]) -> None:
        self._one, self._other = one, other

    def __contains__(self, name: object) -> bool:
        return name in self._one or name in self._other


def free_name(group: str, used: Container[str]) -> str:
    """Return the first name of a group's shards that is not in use: ``news``, ``news-1``, ``news-2``..."""
    return next(free_names(group, used))


def free_names(group: str, used: Container[str]) -> Iterator[str]:
    """Yield the names of a group's shards that are not in use, each looked up when it is asked for."""
    names = chain((group,), (f"{group}-{number}" for number in count(1)))
    return (name for name in names if name not in used)
