"""All fleets of a namespace and their living plans; documents may change while models are placed."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable

from planner.controller.carrying import Share, carried
from planner.controller.fleet import Fleet, is_fleet, read_fleet
from planner.controller.in_force import LONGEST_NAME, SUFFIX, in_force
from planner.controller.living import LivingPlan
from planner.controller.objects import Mode
from planner.controller.releasing import alike, is_left, joined, reduced, with_released
from planner.controller.restoring import lost_shards, restore
from planner.controller.views import FLEET_KEY, RELEASED_KEY, ConfigMapView, ModelView
from planner.controller.wishes import group_of
from planner.controller.world import World
from planner.controller.writes import Level, Told
from planner.errors import Fault, InputError
from planner.manifests.deployment import STANDALONE_SERVERS
from planner.manifests.inferenceservice import SERVERS

_log = logging.getLogger(__name__)

Texts = tuple[str, str]
"""What a document says, and what is kept of an earlier one."""


class Fleets:
    """The fleets of a namespace.

    Parameters
    ----------
    namespace
        Which.
    mode
        By what shards are opened.
    follows
        Whether a controller decides what is in force of documents, as soon as it has taken them.
    """

    def __init__(self, namespace: str, mode: Mode, *, follows: bool = False) -> None:
        self._namespace = namespace
        self.mode = mode
        self._follows = follows
        self.plans: dict[str, LivingPlan] = {}
        self.gone: set[str] = set()
        """Documents of which nothing is in force any more."""
        self.given: set[str] = set()
        """Documents that have given a group up to another, as long as what is kept of them says otherwise."""
        self.unread: set[str] = set()
        """Documents of which what is kept has faults."""
        self._begun = False
        self._read: dict[str, Texts] = {}
        self._faults: dict[str, str] = {}

    @property
    def untaken(self) -> Collection[str]:
        """Documents with faults, of which none was taken before, and those whose kept text has some."""
        return (self._faults.keys() - self.plans.keys()) | self.unread

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

        One with faults changes nothing: what was in force before goes on. Of two that offer one group the
        one that has it keeps it, also over a restart; where nobody has it, the older gets it. A group that
        its document lets go, or whose document is gone, is released: it gets nothing new, and is the next
        document's that offers it.

        Returns
        -------
        The plans that are new, and what is to be told.
        """
        documents = [_document(view) for view in world.config_maps.values() if is_fleet(view)]
        there, kept, told = {view.name for view in documents}, list(in_force(world)), list[Told]()
        taken: list[str] = []
        if self._follows:
            known = {view.name for view in kept}
            self._forget(there | known if kept else self.plans.keys())
            changed = [view for view in kept if self._read.get(view.name) != _texts(view)]
            self.unread = {view.name for view in changed if not self._reads(view)}
            documents = [view for view in documents if view.name not in known - self.unread]
            documents += [view for view in kept if view.name not in self.unread]
        elif not self._begun:
            taken = self._bring(kept, world, told)
            self.unread = {view.name for view in kept if view.name in self._faults and not self._reads(view)}
            self._read = {name: (text, "") for name, (text, _) in self._read.items()}
            self._begun = True
        told += self._release(there, world)
        taken += self._bring(documents, world, told)
        told += self._release(there, world)
        fresh = [self.plans[name] for name in dict.fromkeys(taken) if name in self.plans]
        told += [_read_event(world, plan) for plan in fresh if plan.fleet.kept]
        return fresh, told

    def finish(self, world: World, *, fronted: bool) -> list[Told]:
        """Forget released groups of which nothing is left; returns what is to be told.

        Parameters
        ----------
        world
            What is there.
        fronted
            Whether gateways, and transformers, are kept at all.
        """
        told = []
        for source, plan in list(self.plans.items()):
            over = {
                group for group in plan.fleet.released if not is_left(plan, group, world, fronted=fronted)
            }
            told += [
                _told(world, source, "Normal", "GroupClosed", f"group {group}, which was released")
                for group in sorted(over)
            ]
            if over:
                self._keep_rest(source, reduced(plan, [g for g in plan.fleet.groups if g not in over]))
        return told

    # ---------------------------------------------------------------------------------------------- inside

    def _keep_rest(self, source: str, fleet: Fleet) -> None:
        if fleet.groups:
            self.plans[source].fleet = fleet
        else:
            del self.plans[source]
            self.gone.add(source)

    def _forget(self, names: Collection[str]) -> None:
        """Forget what a controller has ended."""
        for source in [source for source in self.plans if source not in names]:
            del self.plans[source]

    def _release(self, there: Collection[str], world: World) -> list[Told]:
        """Release the groups of documents that are gone."""
        told = []
        for source, plan in self.plans.items():
            if source not in there:
                told += [_released(world, plan, group) for group in plan.fleet.kept]
                plan.fleet = dataclasses.replace(plan.fleet, released=frozenset(plan.fleet.groups))
        return told

    def _bring(self, found: Iterable[ConfigMapView], world: World, told: list[Told]) -> list[str]:
        """Take the documents that have changed, and those that were refused; returns those taken."""
        views = sorted(found, key=lambda view: (view.created, view.name))
        for name in self._read.keys() - {view.name for view in views}:
            del self._read[name]
            self._faults.pop(name, None)
        wanted: list[tuple[ConfigMapView, Fleet]] = []
        faults: dict[str, str] = {}
        changed = {view.name for view in views if self._read.get(view.name) != _texts(view)}
        for view in views:
            if view.name not in changed and view.name not in self._faults:
                continue
            self._read[view.name] = _texts(view)
            try:
                wanted.append((view, self._fleet(view)))
            except InputError as error:
                faults[view.name] = str(error)
        taken = self._take_all(wanted, world, faults, told)
        for view in views:
            fault = faults.get(view.name)
            if fault is not None and (view.name in changed or self._faults.get(view.name) != fault):
                told.append(_told(world, view.name, "Warning", "BadFleet", fault))
                _log.warning("fleet %s is not taken, what was there before goes on: %s", view.name, fault)
        self._faults = faults
        return taken

    def _take_all(
        self,
        wanted: list[tuple[ConfigMapView, Fleet]],
        world: World,
        faults: dict[str, str],
        told: list[Told],
    ) -> list[str]:
        """Take whatever can be taken, the oldest first, and again after each: it may have let a group go."""
        taken: list[str] = []
        position = 0
        while position < len(wanted):
            view, fleet = wanted[position]
            try:
                told += self._take(view, fleet, world)
            except InputError as error:
                faults[view.name] = str(error)
                position += 1
                continue
            faults.pop(view.name, None)
            taken.append(view.name)
            del wanted[position]
            position = 0
        return taken

    def _take(self, view: ConfigMapView, fleet: Fleet, world: World) -> list[Told]:
        """Have a document rule its groups, also those that another has let go: everyone stays where he is.

        Groups that it does not have any more, and of which something is left, are released.
        """
        shares = self._inherited(view, fleet)
        former = self.plans.get(view.name)
        dropped: list[str] = []
        if former is not None:
            known = former.fleet.groups
            mine = [group for group in known if group not in fleet.groups]
            dropped = [group for group in mine if is_left(former, group, world, fronted=True)]
            if dropped:
                fleet = with_released(fleet, former, dropped)
            shares[view.name] = Share(plan=former, groups=[g for g in known if g not in mine] + dropped)
        new = {group for group in fleet.groups if not any(group in share.groups for share in shares.values())}
        fresh = carried(shares.values(), fleet)
        if new:
            lost = sorted(set(lost_shards(fleet, world, new)))
            if lost:
                raise InputError([_fault(view, message) for message in lost])
            restore(fresh, world, new)
        for source in shares.keys() - {view.name}:
            self._give_up(source, shares[source].groups)
        self.plans[view.name] = fresh
        self.gone.discard(view.name)
        was = frozenset[str]() if former is None else former.fleet.released
        return [_released(world, fresh, group) for group in dropped if group not in was]

    def _inherited(self, view: ConfigMapView, fleet: Fleet) -> dict[str, Share]:
        """Return what a document takes over from others, by their names."""
        found: dict[str, list[str]] = {}
        for source, plan in self.plans.items():
            if source == view.name:
                continue
            free = set(fleet.kept) & plan.fleet.released
            pair = alike(fleet.groups, plan.fleet.groups, free=free)
            if pair is not None:
                ours, theirs = pair
                what = "is" if ours == theirs else f"and {theirs!r} name shards alike, and that is"
                raise InputError([_fault(view, f"group {ours!r} {what} of fleet {source!r} already")])
            if free:
                found[source] = sorted(free)
        return {source: Share(plan=self.plans[source], groups=groups) for source, groups in found.items()}

    def _give_up(self, source: str, groups: Collection[str]) -> None:
        """Take groups out of a plan that another document has taken over."""
        plan = self.plans[source]
        rest = [group for group in plan.fleet.groups if group not in groups]
        fleet = reduced(plan, rest)
        if rest:
            self.plans[source] = carried([Share(plan=plan, groups=rest)], fleet)
            self.given.add(source)
        else:
            self._keep_rest(source, fleet)

    def _fleet(self, view: ConfigMapView) -> Fleet:
        if view.name.endswith(SUFFIX):
            raise InputError(
                [_fault(view, f"has a name that ends in {SUFFIX}, as the controller's own have")]
            )
        if len(view.name) > LONGEST_NAME:
            raise InputError([_fault(view, f"has a name of more than {LONGEST_NAME} characters")])
        released = view.data.get(RELEASED_KEY)
        if released is None:
            return self._parsed(view)
        kept = self._parsed(dataclasses.replace(view, data={FLEET_KEY: released}))
        kept = dataclasses.replace(kept, data={RELEASED_KEY: released}, released=frozenset(kept.groups))
        return joined(self._parsed(view), kept) if FLEET_KEY in view.data else kept

    def _reads(self, view: ConfigMapView) -> bool:
        try:
            self._fleet(view)
        except InputError:
            return False
        return True

    def _parsed(self, view: ConfigMapView) -> Fleet:
        with_kserve = self.mode == "kserve"
        return read_fleet(
            view,
            namespace=self._namespace,
            servers=SERVERS if with_kserve else STANDALONE_SERVERS,
            counts_memory=with_kserve,
        )


def _document(view: ConfigMapView) -> ConfigMapView:
    """Return a fleet document without what else is in its ConfigMap."""
    return dataclasses.replace(view, data={key: view.data[key] for key in (FLEET_KEY,) if key in view.data})


def _texts(view: ConfigMapView) -> Texts:
    return view.data.get(FLEET_KEY, ""), view.data.get(RELEASED_KEY, "")


def _fault(view: ConfigMapView, message: str) -> Fault:
    return Fault(path="", file=view.name, message=message)


def _read_event(world: World, plan: LivingPlan) -> Told:
    return _told(world, plan.fleet.source, "Normal", "FleetRead", f"groups {', '.join(plan.fleet.kept)}")


def _released(world: World, plan: LivingPlan, group: str) -> Told:
    models, shards = len(plan.models_of(group)), len(plan.shards_of(group))
    left = f"models on its shards: {models}, shards: {shards}"
    message = (
        f"no document has group {group} any more; {left}; nothing new comes, and what is empty is closed"
    )
    return _told(world, plan.fleet.source, "Normal", "GroupReleased", message)


def _told(world: World, name: str, level: Level, reason: str, message: str) -> Told:
    source = world.config_maps.get(name)
    return Told(
        kind="ConfigMap",
        name=name,
        uid=source.uid if source is not None else "",
        level=level,
        reason=reason,
        message=message,
    )
