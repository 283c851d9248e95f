"""A living plan that follows what a controller writes: for those who only want to know what would fit.

It decides nothing for good. Who is where is read from the placement documents, one model at a time as they
change; TrainedModels that no document names yet are given the place that they would get on open shards, so
that those asked about after them find the room that is then left.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice

from planner.controller.assigning import names_of_others
from planner.controller.conditions import is_assigned
from planner.controller.fitting import Verdict, verdict_of
from planner.controller.fleet import is_fleet
from planner.controller.fleets import Fleets
from planner.controller.in_force import is_in_force
from planner.controller.living import Copy, LivingPlan
from planner.controller.objects import Style
from planner.controller.restoring import (
    Entry,
    read_entries,
    restore,
    seat_all,
    told_services,
    told_shards,
)
from planner.controller.settling import Surroundings, settle
from planner.controller.views import (
    ConfigMapView,
    ModelView,
    Object,
    is_ours,
    read_model,
)
from planner.controller.wishes import WishError, said_in, wish_again, wish_of
from planner.controller.world import Change, World
from planner.domain.model import Model
from planner.errors import InputError
from planner.manifests.names import LABEL_GROUP, LABEL_SHARD
from planner.manifests.transformer import LABEL_TRANSFORMER

_log = logging.getLogger(__name__)

MOST_REPLICAS = 100
"""Of a model that is judged: each may open a shard, which takes some ten milliseconds."""

_MOST_TRIED = 256
"""Models without a place that are tried again when a shard opens: about as many as one holds."""


class Follower:
    """A namespace's living plans, kept up to date from its objects.

    Parameters
    ----------
    namespace, style
        As the controller has them.
    """

    def __init__(self, namespace: str, *, style: Style | None = None) -> None:
        style = style or Style()
        self.world = World()
        self._fronted = style.options.gateway == "nginx"
        self._fleets = Fleets(namespace, style.mode, follows=True)
        self._entries: dict[str, dict[str, tuple[str, Entry]]] = defaultdict(dict)
        self._named_in: dict[str, dict[str, Entry]] = {}
        self._stale: dict[str, None] = {}
        self._placeless: dict[str, None] = {}
        self._guessed: set[str] = set()
        self._refleet, self._reshard = True, False

    # ------------------------------------------------------------------------------------------ what is seen

    def see(self, kind: str, item: Object) -> None:
        """Take an object as it is now."""
        change = self.world.see(kind, item)
        if change is not None:
            self._note(change)

    def lose(self, kind: str, name: str, uid: str = "") -> None:
        """Take note that an object is gone."""
        change = self.world.lose(kind, name, uid)
        if change is not None:
            self._note(change)

    @property
    def plans(self) -> Iterable[LivingPlan]:
        """Return the living plans."""
        return self._fleets.plans.values()

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the groups that are served."""
        return tuple(group for plan in self.plans for group in plan.fleet.groups)

    def catch_up(self, most: int) -> bool:
        """Bring the plans up to what was seen, at most so many models; returns whether something is left."""
        if self._refleet:
            self._read_fleets()
        if self._reshard:
            self._read_shards()
        for name in list(islice(self._stale, most)):
            del self._stale[name]
            self._reseat(name)
        for plan in self.plans:
            if plan.standing.unused:
                self._read_services(plan)
        return bool(self._stale)

    # ---------------------------------------------------------------------------------------------- judging

    def is_new(self, item: Object, before: Object | None) -> bool:
        """Return whether an object asks for something that the one before it did not.

        Whatever else is written of it (its status, its parent within the group, who answers for it) is none
        of the planner's business; nor is one that is on its way out.
        """
        view = read_model(item)
        if view.deleting:
            return False
        return before is None or self._wants(read_model(before)) != self._wants(view)

    def judge(self, item: Object) -> Verdict | None:
        """Return what the controller would do with a TrainedModel; the plans are afterwards as they were.

        None is no verdict: one that asks for more than ``MOST_REPLICAS`` would hold up all others.

        Parameters
        ----------
        item
            As it is to be; one of the same name takes its place.
        """
        view = read_model(item)
        found = self._fleets.find(view)
        if found is None:
            return Verdict(model=view.name, is_ours=False)
        plan, group = found
        try:
            wish = wish_of(view, plan.fleet, group)
        except WishError as error:
            return Verdict(model=view.name, is_ours=True, refusal=str(error))
        if wish.replicas > MOST_REPLICAS:
            return None
        return self._try(plan, group, wish, hint=view.parent if is_assigned(view.conditions) else None)

    def _try(self, plan: LivingPlan, group: str, wish: Model, *, hint: str | None) -> Verdict:
        holder = self._fleets.holding(wish.name)
        before = () if holder is None else holder[0].copies(wish.name)
        if holder is not None and holder != (plan, group):
            _take_out(holder[0], before)  # a change of its group is a removal and an arrival
        shards = set(plan.shards)
        settled = settle(plan, group, wish, hint=hint, around=self._around())
        short = f"{settled.refused} of {wish.replicas} replicas refused: {settled.reason}"
        verdict = verdict_of(plan, wish.name, before=shards, refusal=short if settled.refused else "")
        _take_out(plan, plan.copies(wish.name))
        for shard in reversed(settled.opened):
            plan.take_back(shard)
        if settled.stood is not None:
            plan.standing.leave((group, settled.stood.transformer))
        plan.forget(group, wish.name)
        if holder is not None:
            for copy in before:
                holder[0].seat(holder[1], copy.model, copy.placed)
        return verdict

    def _around(self) -> Surroundings:
        closed = (node.name for node in self.world.nodes.values() if not node.open)
        return Surroundings(used=names_of_others(self.world), closed=frozenset(closed), fronted=self._fronted)

    # ---------------------------------------------------------------------------------------------- changes

    def _note(self, change: Change) -> None:
        match change.kind:
            case "TrainedModel":
                if _told(change.before) != _told(change.after):
                    self._stale[change.name] = None
            case "ConfigMap":
                self._note_config_map(change)
            case "InferenceService" | "Deployment":
                view = change.after or change.before
                counts = is_ours(view.labels) or LABEL_TRANSFORMER in view.labels
                self._reshard |= counts and (change.before is None or change.after is None)

    def _note_config_map(self, change: Change) -> None:
        view: ConfigMapView = change.after or change.before
        if any(is_fleet(one) or is_in_force(one) for one in (change.before, change.after) if one is not None):
            self._refleet = True
            return
        if not is_ours(view.labels) and change.name not in self._named_in:
            return
        there = change.after is not None and is_ours(view.labels)
        self._reshard |= change.before is None or not there
        fresh = dict(read_entries(view)) if there else {}
        former = self._named_in.pop(change.name, {})
        shard = view.labels.get(LABEL_SHARD, "")
        for name in former.keys() | fresh.keys():
            if former.get(name) != fresh.get(name):
                self._stale[name] = None
                self._entries[name].pop(change.name, None)
                if name in fresh:
                    self._entries[name][change.name] = shard, fresh[name]
                elif not self._entries[name]:
                    del self._entries[name]
        if fresh:
            self._named_in[change.name] = fresh
        self._stale.update(dict.fromkeys(self._guessed_on(shard)))

    def _guessed_on(self, shard: str) -> Iterator[str]:
        """Yield the models that no document names and that were given a place on a shard: it may be gone."""
        plan = self._fleets.with_shard(shard) if self._guessed else None
        if plan is not None:
            yield from sorted({copy.placed.model for copy in plan.on(shard)} & self._guessed)

    def _wants(self, view: ModelView) -> object:
        """Return what of a TrainedModel decides whether it fits; of its parent only the group counts."""
        return self._fleets.find(view), said_in(view), view.storage_uri, view.framework, view.memory

    # ------------------------------------------------------------------------------------------ following

    def _read_fleets(self) -> None:
        self._refleet = False
        fresh, told = self._fleets.reload(self.world)
        for item in told:
            _log.info("%s: %s: %s", item.name, item.reason, item.message)
        if fresh:
            self._stale.update(dict.fromkeys(sorted(self.world.models)))
            self._warm_up(fresh)

    def _warm_up(self, plans: Iterable[LivingPlan]) -> None:
        """Judge some model: the first time compiles what finds places, for up to a minute."""
        for fleet in [plan.fleet for plan in plans if plan.fleet.kept][:1]:
            spec = {"storageUri": "s3://x", "framework": fleet.scenario.backends[0].name, "memory": "1Mi"}
            item = {"metadata": {"name": "x"}, "spec": {"inferenceService": fleet.kept[0], "model": spec}}
            self.judge(item)

    def _read_shards(self) -> None:
        """Open the shards that are there now; where one is gone, its fleet is read back as a whole."""
        self._reshard = False
        for source, plan in self._fleets.plans.items():
            groups = plan.fleet.groups
            told = {shard.name: shard for shard in told_shards(plan.fleet, self.world, groups)}
            if any(told.get(name) != shard for name, shard in plan.shards.items()):
                fresh = self._fleets.plans[source] = LivingPlan(plan.fleet)
                restore(fresh, self.world, groups)
                self._stale.update(dict.fromkeys(sorted(self.world.models)))
                continue
            for name in sorted(told.keys() - plan.shards.keys()):
                plan.open(told[name])
                self._try_again(name)
            self._read_services(plan)

    def _read_services(self, plan: LivingPlan) -> None:
        """Count the transformers that are there, where they are; one that is not, and nobody needs, goes."""
        told = {
            (item.group, item.transformer): item
            for item in told_services(plan.fleet, self.world)
            if plan.standing.is_whole(item)
        }
        for key in plan.standing.unused:
            if key not in told:
                plan.standing.leave(key)
        for service in sorted(told.values()):
            if service not in plan.standing.services:
                plan.standing.take(service)

    def _try_again(self, shard: str) -> None:
        here = [name for name, found in self._entries.items() if any(at == shard for at, _ in found.values())]
        self._stale.update(dict.fromkeys([*sorted(here), *islice(self._placeless, _MOST_TRIED)]))

    def _reseat(self, name: str) -> None:
        """Seat a model where documents say, else where it would go."""
        holder = self._fleets.holding(name)
        if holder is not None:
            _take_out(holder[0], holder[0].copies(name))
        self._placeless.pop(name, None)
        self._guessed.discard(name)
        view = self.world.models.get(name)
        found = None if view is None or view.deleting else self._fleets.find(view)
        if view is None or found is None:
            return
        plan, group = found
        entries = {
            shard: entry for shard, entry in self._entries.get(name, {}).values() if shard in plan.shards
        }
        seat_all(plan, view, entries, _held(plan, entries))
        for key in plan.standing.needed:
            with suppress(InputError):  # no room: nor is there for the model that is judged
                if key not in plan.standing:
                    plan.standing.stand(key, plan.counted)
        self._place_rest(plan, group, view)

    def _place_rest(self, plan: LivingPlan, group: str, view: ModelView) -> None:
        """Give replicas that no document names the places that they would get on open shards."""
        try:
            wish = wish_again(plan, view, group)
        except WishError:
            return
        there = {copy.placed.replica for copy in plan.copies(view.name)}
        for replica in range(wish.replicas):
            if replica in there:
                continue
            if plan.place(group, wish, replica) is None:
                self._placeless[view.name] = None
                plan.forget(group, view.name)
                return
            self._guessed.add(view.name)


def _told(view: ModelView | None) -> object:
    """Return what of a TrainedModel decides where its copies are."""
    if view is None:
        return None
    asks = said_in(view), view.labels.get(LABEL_GROUP), view.storage_uri, view.framework, view.memory
    return view.deleting, view.parent, view.leaving, asks


def _take_out(plan: LivingPlan, copies: Iterable[Copy]) -> None:
    for copy in copies:
        plan.unseat(copy)


def _held(plan: LivingPlan, entries: Mapping[str, Entry]) -> dict[str, set[int]]:
    """Return the devices that somebody has for himself, on shards that name a model which uses none."""
    found: dict[str, set[int]] = defaultdict(set)
    for shard, entry in entries.items():
        if not entry.devices:
            for copy in plan.on(shard):
                if len(copy.placed.devices) > 1:
                    found[shard].update(copy.placed.devices)
    return found
