"""The address of a group: its gateway, and the routes by which that finds a model."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planner.controller.conditions import FAILURES
from planner.controller.fronting import brought_up, ended, is_gateway, left_over, mounting, wanted_fronts
from planner.controller.living import LivingPlan
from planner.controller.objects import config_map_writes
from planner.controller.pace import Postponed
from planner.controller.scene import Scene
from planner.controller.views import ConfigMapView, PodView, ShardView
from planner.controller.writes import Write, create
from planner.manifests.gateway import LABEL_GATEWAY
from planner.manifests.names import LABEL_GROUP, plan_labels
from planner.manifests.routes import gateway_name, group_routes, routes_config_maps

_log = logging.getLogger(__name__)

_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.5, 30.0
"""Between looks at gateways of which something is missing; doubled each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What a gateway's pod tells: which routes new requests go by, and how many old ones it still serves."""

    generation: str | None
    draining: int


class Router:
    """Keeps gateways and their routes as they should be, where the options ask for gateways.

    Parameters
    ----------
    scene
        What is shared.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._postponed = Postponed(scene.pace)
        self._generations: dict[str, str] = {}
        self._fronts: dict[str, dict[str, Front]] = defaultdict(dict)
        self._documents: dict[str, int] = {}
        self._look: float | None = None
        self._wait_s = _FIRST_LOOK_S

    @property
    def is_asked_for(self) -> bool:
        """Whether there are gateways at all."""
        return self._scene.style.options.gateway == "nginx"

    def next(self) -> float | None:
        """Return when routes, or objects that are still missing, are looked at next; None if none are."""
        found = [time for time in (self._look, self._postponed.next()) if time is not None]
        return min(found, default=None)

    def hear(self, pod: PodView, front: Front) -> None:
        """Take what a gateway's pod tells."""
        if pod.gateway is not None:
            self._fronts[pod.gateway][pod.name] = front

    def forget(self, pod: PodView) -> None:
        """Take note that a gateway's pod is gone."""
        if pod.gateway is not None:
            self._fronts[pod.gateway].pop(pod.name, None)

    def rest(self, name: str, until: float) -> None:
        """Take note that a ConfigMap of routes, or a gateway, cannot be written for a while."""
        for group in self._generations:
            if name == gateway_name(group) or name.startswith(f"{gateway_name(group)}-"):
                self._postponed.rest(group, until)

    def follows(self, group: str) -> bool:
        """Return whether every gateway of a group goes by the routes as they should be, and by no others.

        True where there are no gateways: then nothing has to follow. One that runs and has not said anything
        may go by any routes.
        """
        if not self.is_asked_for:
            return True
        wanted = self._generations.get(group)
        fronts = self._fronts.get(group, {})
        pods = self._scene.world.pods.values()
        return (
            group not in self._postponed
            and not any(self._is_of(group, shard) for shard in self._scene.touched)
            and all(front.generation == wanted and front.draining == 0 for front in fronts.values())
            and all(pod.name in fronts for pod in pods if pod.gateway == group and pod.address is not None)
        )

    def _is_of(self, group: str, shard: str) -> bool:
        plan = self._scene.fleets.with_shard(shard)
        return plan is not None and plan.group_of_shard(shard) == group

    def writes(self, now: float) -> Iterator[Write]:
        """Yield what may be written of gateways, of the Services that they go to, and of their routes."""
        touched, self._scene.touched = self._scene.touched, set()
        if not self.is_asked_for:
            return
        for shard in touched:
            plan = self._scene.fleets.with_shard(shard)
            if plan is not None:
                self._postponed.add(plan.group_of_shard(shard), now)
        if self._scene.unfronted or (self._look is not None and self._look <= now):
            yield from self._missing(now)
        for group in list(self._postponed.due(now)):
            yield from self._routes(group, now)

    # -------------------------------------------------------------------------------------------- gateways

    def _missing(self, now: float) -> Iterator[Write]:
        """Yield what is not there as it should be.

        What is still not afterwards is looked at again after a while: it may be that it may not be written,
        and all that a namespace's gateways are made of is much to go through.
        """
        scene = self._scene
        if scene.unfronted:
            self._wait_s = _FIRST_LOOK_S
            for plan in scene.fleets.plans.values():
                for group in plan.fleet.groups:
                    self._postponed.add(group, now)
        lacking = False
        for plan in scene.fleets.plans.values():
            for write in self._fronts_of(plan):
                lacking = True
                yield write
        scene.unfronted = False
        self._look = now + self._wait_s if lacking else None
        self._wait_s = min(2 * self._wait_s, _LONGEST_LOOK_S)

    def _fronts_of(self, plan: LivingPlan) -> Iterator[Write]:
        world = self._scene.world
        known: Mapping[str, Mapping[str, ShardView]] = {
            "Deployment": world.deployments,
            "Service": world.services,
            "PodDisruptionBudget": world.budgets,
        }
        for kind, body in wanted_fronts(plan, self._scene.style.options, self._documents):
            view = known[kind].get(body["metadata"]["name"])
            write = create(kind, body) if view is None else brought_up(view, kind, body)
            if write is not None:
                yield write
        yield from left_over(plan, world)
        yield from ended(plan, world)

    # ---------------------------------------------------------------------------------------------- routes

    def _routes(self, group: str, now: float) -> Iterator[Write]:
        plan = self._plan(group)
        if plan is None or plan.is_over(group):
            self._postponed.done(group)
            return
        scenario, known = plan.fleet.scenario, self._scene.world.config_maps
        models = {name: self._answering(plan, name, before) for name, before in self._models(plan, group)}
        through = {name: item for name in models if (item := plan.transformer_of(name)) is not None}
        routes = group_routes(group, namespace=scenario.namespace, models=models, transformers=through)
        self._generations[group] = routes.generation
        try:
            maps = routes_config_maps(
                routes,
                namespace=scenario.namespace,
                labels={**plan_labels(scenario), LABEL_GROUP: group, LABEL_GATEWAY: group},
                max_bytes=scenario.cluster.max_config_map_bytes,
            )
        except ValueError as error:
            _log.error("the routes of group %s cannot be written: %s", group, error)
            self._postponed.done(group)
            return
        stale = [view for view in known.values() if is_routes_of(view, group)]
        found = list(config_map_writes(maps, known, stale=stale))
        found += self._mounting(group, len(maps))
        if found:
            self._postponed.written(group, now)
            yield from found
        else:
            self._postponed.done(group)

    def _mounting(self, group: str, documents: int) -> list[Write]:
        """Return what makes a group's gateways mount all routes, where they have become too many for them."""
        self._documents[group] = documents
        view = self._scene.world.deployments.get(gateway_name(group))
        write = None if view is None or not is_gateway(view) else mounting(view, group, documents)
        return [] if write is None else [write]

    def _plan(self, group: str) -> LivingPlan | None:
        plans = self._scene.fleets.plans.values()
        return next((plan for plan in plans if group in plan.fleet.groups), None)

    def _models(self, plan: LivingPlan, group: str) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield the models of a group, and the shards that the routes as they are send them to."""
        before: dict[str, frozenset[str]] = {}
        for view in self._scene.world.config_maps.values():
            if is_routes_of(view, group):
                before.update(_told(view))
        for name in plan.models_of(group):
            yield name, before.get(name, frozenset())

    def _answering(self, plan: LivingPlan, name: str, before: frozenset[str]) -> list[str]:
        """Return the shards that answer for a model: those where it is loaded.

        A shard that answered keeps its route until its agents say that the model failed there: a pod that
        starts anew is kept from requests by its readiness, and where one of several failed the others answer.
        During a move both copies answer, until the routes are to leave the old one out.
        """
        hearing = self._scene.hearing
        answering: dict[bool, list[str]] = {False: [], True: []}
        for copy in plan.copies(name):
            shard = copy.placed.shard
            told = hearing.copy_state(name, shard).state
            is_there = told not in FAILURES or hearing.is_loaded_by_some(name, shard)
            if told == "Loaded" or (shard in before and is_there):
                answering[copy.leaving].append(shard)
        if name in self._scene.handed and answering[False]:
            return answering[False]
        return [*answering[False], *answering[True]]


def is_routes_of(view: ConfigMapView, group: str) -> bool:
    """Return whether a ConfigMap holds routes of a group's gateway."""
    return view.labels.get(LABEL_GROUP) == group and LABEL_GATEWAY in view.labels


def _told(view: ConfigMapView) -> Iterator[tuple[str, frozenset[str]]]:
    for text in view.data.values():
        try:
            models = json.loads(text)["models"]
            yield from ((str(name), frozenset(map(str, shards))) for name, shards in models.items())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("ConfigMap %s cannot be read, and is written anew: %s", view.name, error)
