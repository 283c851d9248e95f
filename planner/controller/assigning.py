"""Models that are to be looked at, settled one after the other: the most important and largest first."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from planner.controller.conditions import is_assigned
from planner.controller.living import LivingPlan
from planner.controller.opening import MOST_TRIED, Either, cheapest_site, free_names
from planner.controller.scene import Scene
from planner.controller.settling import Settled, Surroundings, remove, settle
from planner.controller.views import ModelView, is_ours
from planner.controller.wishes import WishError, wish_again
from planner.controller.world import World
from planner.controller.writes import Level, Told
from planner.domain.fleet import ShardType
from planner.domain.model import Model
from planner.domain.placement import Shard
from planner.domain.services import Service
from planner.manifests.deployment import predictor_name

_MOST_OPENED = 200
"""Shards that one step opens because a ``minCount`` asks for them: no step is to hold up what is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why a model has no place, or not for all of its replicas: in a word, and in a sentence."""

    reason: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """A model that wants a place."""

    plan: LivingPlan
    group: str
    view: ModelView
    model: Model


class Assigner:
    """Settles models.

    Parameters
    ----------
    scene
        What is shared.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.refused: dict[str, Refused] = {}
        self._freed = self._changed = False
        self._looked = float("-inf")
        self._opens_on: float | None = None
        self._retried: frozenset[str] = frozenset()
        self._foreign: frozenset[str] = frozenset()
        self._closed: frozenset[str] = frozenset()

    def look_again(self) -> None:
        """Take note that something has changed which may make room for what was refused."""
        self._freed = True

    def next(self) -> float | None:
        """Return when more is to be opened, or what was refused looked at again; None if there is no need."""
        times = [time for time in (self._opens_on, self._retries()) if time is not None]
        return min(times, default=None)

    def _retries(self) -> float | None:
        """Return when to look at what was refused: soon where there may be room, else for its reasons' sake.

        They are those of the plan as it is, so that who starts anew finds no others.
        """
        if not self.refused or not (self._freed or self._changed):
            return None
        return self._looked + (self._scene.pace.retry_s if self._freed else self._scene.pace.status_s)

    def settle_all(self, now: float) -> None:
        """Settle every model that is to be looked at."""
        scene = self._scene
        again = self._retries()
        self._retried = frozenset()
        if again is not None and again <= now:
            self._retried = frozenset(self.refused.keys() - scene.unsettled)
            scene.unsettled |= self._retried
            self._freed, self._changed, self._looked = False, False, now
        names, scene.unsettled = sorted(scene.unsettled), set()
        wishes = [wish for name in names if (wish := self._wish(name, now)) is not None]
        wishes.sort(key=lambda wish: (-wish.model.priority, -_size(wish.model), wish.model.name))
        self._look_around()
        self._open_first(wishes, now)
        waiting: dict[tuple[str, str], list[Model]] = defaultdict(list)
        for wish in wishes:
            if not wish.plan.copies(wish.model.name):
                waiting[wish.plan.fleet.source, wish.group].append(wish.model)
        begun: dict[tuple[str, str], int] = defaultdict(int)
        for wish in wishes:
            key = wish.plan.fleet.source, wish.group
            rest, first = waiting[key], begun[key]
            begun[key] += int(first < len(rest) and rest[first] is wish.model)
            self._settle(wish, rest[first : first + MOST_TRIED], now)

    # ---------------------------------------------------------------------------------------------- wishes

    def _wish(self, name: str, now: float) -> _Wish | None:
        """Return what a model asks for; None for one that asks for nothing, which is then let go."""
        scene = self._scene
        view = scene.world.models.get(name)
        wanted = None if view is None or view.deleting else scene.fleets.find(view)
        holder = scene.fleets.holding(name)
        if holder is not None and holder != wanted:
            scene.touch(remove(holder[0], name), name, now)
            scene.decided["removed"] += 1
            self._freed = True
        scene.unnamed.add(name)
        scene.untold.add(name)
        if view is None or wanted is None:
            self.refused.pop(name, None)
            return None
        try:
            model = wish_again(wanted[0], view, wanted[1])
        except WishError as error:
            self._refuse(view, Refused(reason="BadModel", sentence=str(error)))
            return None
        return _Wish(plan=wanted[0], group=wanted[1], view=view, model=model)

    def _settle(self, wish: _Wish, waiting: Sequence[Model], now: float) -> None:
        begin = time.perf_counter()
        known = is_assigned(wish.view.conditions)
        fronted = self._scene.style.options.gateway == "nginx"
        around = Surroundings(used=self._foreign, closed=self._closed, fronted=fronted, waiting=waiting)
        hint = wish.view.parent if known else None
        before = wish.plan.copies(wish.model.name)
        found = settle(wish.plan, wish.group, wish.model, hint=hint, around=around)
        self._scene.timed(time.perf_counter() - begin)
        there = {copy.placed.shard for copy in before}
        for shard in {copy.placed.shard for copy in wish.plan.copies(wish.model.name)} - there:
            self._scene.hearing.drop(wish.model.name, shard)
        # One that has become smaller, or has begun to move, may make room; one that only tried has not.
        self._freed |= bool(before and found.touched and not found.refused)
        self._changed |= bool(found.opened) or wish.plan.copies(wish.model.name) != before
        self._note(wish, found, now)

    def _note(self, wish: _Wish, found: Settled, now: float) -> None:
        scene, name = self._scene, wish.model.name
        scene.touch(found.touched, name, now)
        for shard in found.opened:
            self._opened(wish.plan, shard, f"for model {name}, which fits into no open shard")
        if found.stood is not None:
            self._stood(wish.plan, found.stood, f"for model {name}")
        if found.refused:
            short = f"{found.refused} of {wish.model.replicas} replicas refused: {found.reason}"
            reason = "GroupReleased" if wish.group in wish.plan.fleet.released else "NoRoom"
            self._refuse(wish.view, Refused(reason=reason, sentence=short))
            return
        self.refused.pop(name, None)
        if found.touched:
            scene.decided["placed"] += 1
            where = ", ".join(
                f"{copy.placed.shard}/{','.join(map(str, copy.placed.devices))}"
                + (" (until the others are loaded)" if copy.leaving else "")
                for copy in wish.plan.copies(name)
            )
            self._tell(wish.view, "Normal", "Placed", f"on {where}")

    # ---------------------------------------------------------------------------------------------- shards

    def _open_first(self, wishes: Sequence[_Wish], now: float) -> None:
        """Open what has to be open whatever comes: one shard of every group, and as many as a type asks for.

        KServe's controller deletes a TrainedModel whose InferenceService is not there. Where a type asks for
        very many, the next steps go on.
        """
        self._opens_on, left = None, _MOST_OPENED
        for plan in self._scene.fleets.plans.values():
            used = Either(plan.shards, self._foreign)
            names = {group: free_names(group, used) for group in plan.fleet.kept}
            for group in plan.fleet.kept:
                if not plan.shards_of(group):
                    waiting = [wish.model for wish in wishes if wish.plan is plan and wish.group == group]
                    self._open_one(plan, next(names[group]), now, kind=group, waiting=waiting)
            for kind in plan.fleet.scenario.shard_types:
                if kind.group not in plan.fleet.kept:
                    continue
                while plan.estate.count(kind.name) < kind.min_count:
                    if not left:
                        self._opens_on = now
                        break
                    name = next(names[kind.group])
                    if not self._open_one(plan, name, now, kind=kind):
                        break
                    left -= 1

    def _open_one(
        self, plan: LivingPlan, name: str, now: float, *, kind: ShardType | str, waiting: Sequence[Model] = ()
    ) -> bool:
        """Open a shard of a type, or the cheapest of a group; returns whether one may be opened."""
        group = kind if isinstance(kind, str) else kind.group
        sites = [
            site
            for site in plan.estate.sites(group, name, closed=self._closed)
            if isinstance(kind, str) or kind.name == site.shard.shard_type
        ]
        site = cheapest_site(sites, plan.fleet, group, waiting) or cheapest_site(sites, plan.fleet, group, ())
        if site is None:
            return False
        plan.open(site.shard)
        self._scene.touch((name,), None, now)
        self._opened(plan, site.shard, "to stand ready")
        return True

    def _opened(self, plan: LivingPlan, shard: Shard, why: str) -> None:
        self._scene.unserved.add(shard.name)
        self._scene.unfronted = True
        self._scene.decided["opened"] += 1
        where = f" on {shard.node}" if shard.node else ""
        told = f"shard {shard.name} of type {shard.shard_type}{where} {why}"
        self._scene.tell_of(plan.fleet.source, "ShardOpened", told)

    def _stood(self, plan: LivingPlan, service: Service, why: str) -> None:
        self._scene.unfronted = True
        where = f" on {', '.join(service.nodes)}" if service.nodes else ""
        told = f"transformer {service.transformer} for group {service.group}{where} {why}"
        self._scene.tell_of(plan.fleet.source, "TransformerOpened", told)

    def _look_around(self) -> None:
        """Look up the names that others have, or that are being given up, and nodes that take no pods."""
        world = self._scene.world
        self._foreign = names_of_others(world)
        for plan in self._scene.fleets.plans.values():
            self._foreign |= plan.closing.keys()
        self._closed = frozenset(node.name for node in world.nodes.values() if not node.open)

    # ---------------------------------------------------------------------------------------------- words

    def _refuse(self, view: ModelView, why: Refused) -> None:
        known = self.refused.get(view.name)
        self.refused[view.name] = why
        if known == why or (known and known.reason == why.reason and view.name in self._retried):
            return  # others came and went, and only the numbers are other ones: no news, and no event
        self._scene.decided["refused"] += 1
        self._tell(view, "Warning", why.reason, why.sentence)

    def _tell(self, view: ModelView, level: Level, reason: str, message: str) -> None:
        self._scene.told.append(
            Told(
                kind="TrainedModel",
                name=view.name,
                uid=view.uid,
                level=level,
                reason=reason,
                message=message,
            )
        )


def names_of_others(world: World) -> frozenset[str]:
    """Return what no new shard may be called: what it would be made of is there, and somebody else's."""
    found = {view.name for view in world.inference_services.values() if not is_ours(view.labels)}
    suffix = predictor_name("")
    found |= {
        view.name.removesuffix(suffix)
        for view in (*world.deployments.values(), *world.services.values())
        if view.name.endswith(suffix) and not is_ours(view.labels)
    }
    return frozenset(found)


def _size(model: Model) -> int:
    return model.devices_per_replica * max(option.steady_bytes.p95 for option in model.footprints)
