"""Who is where in a fleet, now: shards, the copies on them, and what room is left."""

from __future__ import annotations

import bisect
import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from planner.controller.fleet import Fleet, scenario_of_group
from planner.controller.opening import Estate
from planner.controller.standing import Standing
from planner.controller.views import ModelView
from planner.domain.memory import need
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.scenario import Scenario
from planner.manifests.contents import Resident, ShardContents
from planner.online.placer import Placer
from planner.online.reasons import Obstacle

LEAVING = 1_000_000
"""Copies are numbered from here on while they are on their way out: no model has so many replicas."""

_TYPICAL = 2_000
"""Models of a group that stand for those to come: enough for two dozen even steps through their sizes."""

_FEWEST = 16
"""Models of a group before anything is said about those to come; then again each time they have doubled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of a model on a shard, as what it was booked: the model may ask for something else since."""

    model: Model
    placed: Placed

    @property
    def leaving(self) -> bool:
        """Whether it goes as soon as the others are loaded."""
        return self.placed.replica >= LEAVING


class LivingPlan:
    """A fleet's plan, changed one copy at a time.

    Parameters
    ----------
    fleet
        The fleet; nothing of it is open yet.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.estate = Estate(fleet)
        self.standing = Standing(fleet, self.estate)
        self.shards: dict[str, Shard] = {}
        self.wishes: dict[str, tuple[ModelView, Model]] = {}
        """What TrainedModels asked for when they were read back, until somebody wants to know it again."""
        self.closing: dict[str, Shard] = {}
        """Shards that nothing comes to any more, counted until their objects are gone."""
        self.idle: set[str] = set()
        """Open shards with no copy on them."""
        self._placers = {
            group: Placer(scenario_of_group(fleet, group), Placement()) for group in fleet.groups
        }
        self._group_of: dict[str, str] = {}
        self._on: dict[str, dict[tuple[str, int], Copy]] = {}
        self._copies: dict[str, dict[int, Copy]] = defaultdict(dict)
        self._together: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._names: dict[str, list[str]] = {group: [] for group in fleet.groups}
        self._expected = dict.fromkeys(fleet.groups, _FEWEST // 2)

    # ---------------------------------------------------------------------------------------- what there is

    def models(self) -> Iterable[str]:
        """Return the models that have a copy somewhere."""
        return self._copies.keys()

    def models_of(self, group: str) -> tuple[str, ...]:
        """Return the models of a group that have a copy somewhere, sorted."""
        return tuple(self._names[group])

    def copies(self, name: str) -> tuple[Copy, ...]:
        """Return the copies of a model by replica, those on their way out last."""
        found = self._copies.get(name)
        return () if found is None else tuple(found[replica] for replica in sorted(found))

    def transformer_of(self, name: str) -> str | None:
        """Return what the requests of a model pass through: its copies on their way out are asked alike."""
        first = next(iter(self.copies(name)), None)
        return None if first is None else first.model.transformer

    def parent(self, name: str) -> str | None:
        """Return the shard of a model's lowest replica that stays; None where it has none."""
        found = self._copies.get(name)
        lowest = min(found, default=LEAVING) if found else LEAVING
        return None if lowest >= LEAVING or found is None else found[lowest].placed.shard

    def shards_of(self, group: str) -> list[Shard]:
        """Return the shards of a group, sorted by name."""
        types = self.fleet.parts.shard_types
        found = [shard for shard in self.shards.values() if types[shard.shard_type].group == group]
        return sorted(found, key=attrgetter("name"))

    def group_of_shard(self, shard: str) -> str:
        """Return the group that an open shard is of."""
        return self.fleet.parts.shard_types[self.shards[shard].shard_type].group

    def group_of_model(self, name: str) -> str | None:
        """Return the group that has a copy of a model; None where none has."""
        return self._group_of.get(name)

    def on(self, shard: str) -> Iterator[Copy]:
        """Yield the copies on a shard."""
        yield from self._on[shard].values()

    def contents(self, shard: str) -> ShardContents:
        """Return a shard with what stands on it, as manifests are written of it."""
        here, parts = self.shards[shard], self.fleet.parts
        kind = parts.shard_types[here.shard_type]
        copies = sorted(self._on[shard].values(), key=lambda copy: copy.placed.model)
        return ShardContents(
            shard=here,
            shard_type=kind,
            runtime=parts.runtimes[kind.runtime],
            device_class=parts.device_classes[kind.device_class],
            node=None if here.node is None else parts.nodes[here.node],
            residents=tuple(self.resident(copy) for copy in copies),
        )

    def resident(self, copy: Copy) -> Resident:
        """Return a copy as manifests are written of it."""
        parts = self.fleet.parts
        kind = parts.shard_types[self.shards[copy.placed.shard].shard_type]
        backend = parts.backends[copy.model.backend]
        wants = need(
            copy.model.footprints[copy.placed.option],
            backend=backend,
            runtime=parts.runtimes[kind.runtime],
            quantile=self.fleet.scenario.policy.quantile,
        )
        is_parent = self.parent(copy.placed.model) == copy.placed.shard
        return Resident(
            placed=copy.placed, model=copy.model, backend=backend, need=wants, is_parent=is_parent
        )

    def left_bytes(self, shard: str, device: int) -> int:
        """Return the memory of a device that is left, with what the largest load there takes set aside."""
        return self._placers[self.group_of_shard(shard)].left_bytes(shard, device)

    def placement(self) -> tuple[Scenario, Placement]:
        """Return the copies that stay as a placement, and a scenario of them to verify it with."""
        kept = [copy for found in self._copies.values() for copy in found.values() if not copy.leaving]
        models = {copy.model.name: copy.model for copy in kept}
        scenario = dataclasses.replace(
            self.fleet.scenario, models=tuple(models[name] for name in sorted(models))
        )
        return scenario, Placement(
            shards=tuple(self.shards[name] for name in sorted(self.shards)),
            placed=tuple(sorted(copy.placed for copy in kept)),
        )

    def together(self, group: str, key: str, replica: int) -> tuple[str, ...]:
        """Return the shards of a replica of those models of a group that have to be together."""
        # A name stays noted under a key that its model does not have any more.
        fellows = [self._copies.get(name, {}).get(replica) for name in self._together.get((group, key), ())]
        found = {copy.placed.shard for copy in fellows if copy is not None and copy.model.together == key}
        return tuple(sorted(found))

    def obstacles(self, group: str, model: Model, replica: int) -> tuple[Obstacle, ...]:
        """Return what keeps a replica off every open shard of a group."""
        return self._placers[group].obstacles(model, replica)

    def is_released(self, shard: str) -> bool:
        """Return whether an open shard is of a group that no document has any more."""
        return self.group_of_shard(shard) in self.fleet.released

    def is_over(self, group: str) -> bool:
        """Return whether a group is released, and no shard of it is left."""
        types = self.fleet.parts.shard_types
        return group in self.fleet.released and all(
            types[shard.shard_type].group != group for shard in self.counted
        )

    @property
    def counted(self) -> tuple[Shard, ...]:
        """Return the shards that take room: those that are open, and those that are being closed."""
        return (*self.shards.values(), *self.closing.values())

    # --------------------------------------------------------------------------------------------- changes

    def open(self, *shards: Shard) -> None:
        """Take empty shards in."""
        of_group: dict[str, list[Shard]] = defaultdict(list)
        for shard in shards:
            self.estate.take(shard)
            of_group[self.fleet.parts.shard_types[shard.shard_type].group].append(shard)
        for group, found in of_group.items():
            self._take_in(group, *found)

    def close(self, name: str) -> None:
        """Take an empty shard out: nothing comes there any more.

        Raises
        ------
        ValueError
            Somebody is on it.
        """
        self._placers[self.group_of_shard(name)].close(name)
        self.closing[name] = self.shards.pop(name)
        self.idle.discard(name)
        del self._on[name]

    def reopen(self, name: str) -> None:
        """Take a shard that was closed in again, as long as it is counted."""
        shard = self.closing.pop(name)
        self._take_in(self.fleet.parts.shard_types[shard.shard_type].group, shard)

    def count_no_more(self, name: str) -> None:
        """Count a shard that was closed no more: what it took of nodes and limits is another's to take."""
        self.estate.give_back(self.closing.pop(name))

    def keep_closing(self, shard: Shard) -> None:
        """Count a shard that another plan of the fleet was closing."""
        self.estate.take(shard)
        self.closing[shard.name] = shard

    def take_back(self, shard: Shard) -> None:
        """Take an empty shard out again that was only tried."""
        self.close(shard.name)
        self.count_no_more(shard.name)

    def place(self, group: str, model: Model, replica: int, *, shard: str | None = None) -> Copy | None:
        """Find a place for a replica on some open shard of a group, or on one; None is no change."""
        placed = self._placers[group].place_replica(model, replica, shard=shard)
        return None if placed is None else self._note(group, model, placed)

    def seat(self, group: str, model: Model, placed: Placed) -> Copy:
        """Book a copy in where it is known to be, whether it fits or not."""
        self._placers[group].seat(model, placed)
        return self._note(group, model, placed)

    def unseat(self, copy: Copy) -> None:
        """Book a copy out."""
        placed = copy.placed
        group = self._group_of[placed.model]
        self._placers[group].unseat(placed.model, placed.replica)
        self._take_off(placed)
        if not self._copies[placed.model]:
            self._forget(group, copy.model)

    def forget(self, group: str, name: str) -> None:
        """Forget what a model of a group asked for that has no copy anywhere: it was only tried."""
        if not self._copies.get(name):
            self._placers[group].forget(name)

    def send_off(self, copy: Copy) -> Copy:
        """Number a copy as one that is on its way out; it keeps its room until it is gone."""
        number = LEAVING
        while number in self._copies[copy.placed.model]:
            number += 1
        return self._renumber(copy, number)

    def call_back(self, copy: Copy, replica: int) -> Copy:
        """Number a copy that was on its way out as a replica again."""
        return self._renumber(copy, replica)

    # ---------------------------------------------------------------------------------------------- inside

    def _renumber(self, copy: Copy, replica: int) -> Copy:
        group = self._group_of[copy.placed.model]
        placed = dataclasses.replace(copy.placed, replica=replica)
        self._placers[group].unseat(copy.placed.model, copy.placed.replica)
        self._take_off(copy.placed)
        return self.seat(group, copy.model, placed)

    def _take_in(self, group: str, *shards: Shard) -> None:
        for shard in shards:
            self.shards[shard.name] = shard
            self._on[shard.name] = {}
            self.idle.add(shard.name)
        self._placers[group].open(*shards)

    def _take_off(self, placed: Placed) -> None:
        copy = self._on[placed.shard].pop((placed.model, placed.replica))
        del self._copies[placed.model][placed.replica]
        if copy.model.transformer is not None:
            self.standing.count((self.group_of_shard(placed.shard), copy.model.transformer), -1)
        if not self._on[placed.shard]:
            self.idle.add(placed.shard)

    def _note(self, group: str, model: Model, placed: Placed) -> Copy:
        copy = Copy(model=model, placed=placed)
        if model.together is not None:
            self._together[group, model.together].add(model.name)
        self._copies[placed.model][placed.replica] = copy
        self._on[placed.shard][placed.model, placed.replica] = copy
        if model.transformer is not None:
            self.standing.count((group, model.transformer), 1)
        self.idle.discard(placed.shard)
        if placed.model not in self._group_of:
            self._group_of[placed.model] = group
            bisect.insort(self._names[group], placed.model)
            self._expect_alike(group)
        return copy

    def _forget(self, group: str, model: Model) -> None:
        name = model.name
        del self._copies[name], self._group_of[name]
        if model.together is not None:
            self._together[group, model.together].discard(name)
        names = self._names[group]
        del names[bisect.bisect_left(names, name)]
        self._placers[group].remove(name)

    def _expect_alike(self, group: str) -> None:
        """Take the models of a group for those to come, each time that they have doubled."""
        names = self._names[group]
        if len(names) < 2 * self._expected[group]:
            return
        self._expected[group] = len(names)
        step = -(-len(names) // _TYPICAL)
        some = (next(iter(self._copies[name].values())).model for name in names[::step])
        self._placers[group].expect(some)


def copies_by_shard(copies: Iterable[Copy]) -> Mapping[str, Copy]:
    """Return copies of one model by their shard; a server holds a name once."""
    return {copy.placed.shard: copy for copy in copies}
