"""Shards that stay empty: taken out of the plan first, then their objects are deleted, the server's last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from planner.controller.living import LivingPlan
from planner.controller.objects import is_document_of, server_kind
from planner.controller.publishing import Publisher
from planner.controller.routing import Router
from planner.controller.scene import Scene
from planner.controller.standing import Key
from planner.controller.views import ANNOTATION_OPENED_BY, CONTROLLER, ShardView, is_ours
from planner.controller.writes import Kind, Write, delete
from planner.manifests.deployment import predictor_name
from planner.manifests.names import LABEL_MANAGED_BY, MANAGED_BY
from planner.manifests.routes import shard_service_name

_RELEASED_S = 600.0
"""That a shard of a released group may be empty where all others may be for ever."""

_AGAIN_S = 10.0
"""Between looks at a shard whose time has come, and that something keeps open."""


class Closer:
    """Closes shards that the controller has opened and that have been empty for long.

    Nothing marks a shard that is being closed: as long as its server is there, a controller that starts takes
    it for an open one, writes what is missing of it, and closes it when it has been empty for long again. So
    the server goes last.

    Parameters
    ----------
    scene
        What is shared.
    publisher, router
        Know servers, and which routes gateways go by.
    """

    def __init__(self, scene: Scene, publisher: Publisher, router: Router) -> None:
        self._scene, self._publisher, self._router = scene, publisher, router
        self._due: dict[str, float] = {}
        self._unused: dict[Key, float] = {}

    def next(self) -> float | None:
        """Return when some shard, or transformer, may be closed; None if none is empty or unused."""
        return min((*self._due.values(), *self._unused.values()), default=None)

    def look(self, now: float) -> bool:
        """Close what may be closed, open again what is asked for; returns whether room has become free."""
        freed = False
        for plan in self._scene.fleets.plans.values():
            for name in sorted(plan.closing):
                freed |= self._follow(plan, name, now)
        wanted_s = self._scene.pace.empty_s
        empty_s = _RELEASED_S if wanted_s is None else wanted_s
        idle = {name: plan for plan in self._scene.fleets.plans.values() for name in self._closable(plan)}
        self._due = {name: self._due.get(name, now + empty_s) for name in idle}
        for name in sorted(name for name, due in self._due.items() if due <= now):
            if self._may_go(idle[name], name):
                self._close(idle[name], name, empty_s)
            else:
                self._due[name] = now + _AGAIN_S
        return self._look_at_transformers(now, empty_s) or freed

    def writes(self) -> Iterator[Write]:
        """Yield what may be deleted of the shards that are being closed."""
        for plan in self._scene.fleets.plans.values():
            for name in sorted(plan.closing):
                yield from self._deletions(name)

    # ---------------------------------------------------------------------------------------------- inside

    def _look_at_transformers(self, now: float, empty_s: float) -> bool:
        """Let transformers go that no model has named for long; their objects are then left over."""
        unused = {
            key: plan
            for plan in self._scene.fleets.plans.values()
            for key in plan.standing.unused
            if self._may_close(plan, key[0])
        }
        self._unused = {key: self._unused.get(key, now + empty_s) for key in unused}
        gone = False
        for key in [key for key, due in self._unused.items() if due <= now]:
            group, name = key
            if not self._router.follows(group):
                self._unused[key] = now + _AGAIN_S
                continue
            del self._unused[key]
            unused[key].standing.leave(key)
            self._scene.unfronted = gone = True
            told = f"transformer {name} of group {group}, which nobody named for {empty_s:.0f} s"
            self._scene.tell_of(unused[key].fleet.source, "TransformerClosed", told)
        return gone

    def _closable(self, plan: LivingPlan) -> Iterator[str]:
        """Yield the empty shards of a plan that may be closed at all.

        Not the first of a group beside KServe: by its name TrainedModels come, and KServe deletes those whose
        InferenceService is not there. Not the last of a group, nor one of the fewest of its type. Of a group
        that was released all, also those whose servers somebody has taken away himself.
        """
        if not plan.idle:
            return
        kinds = plan.fleet.parts.shard_types
        alike = Counter(shard.shard_type for shard in plan.shards.values())
        together = Counter(kinds[shard.shard_type].group for shard in plan.shards.values())
        for name in sorted(plan.idle):
            kind = kinds[plan.shards[name].shard_type]
            if not self._may_close(plan, kind.group):
                continue
            if kind.group in plan.fleet.released:
                if self._publisher.server(name) is None or self._is_opened_here(name):
                    yield name
                continue
            is_first = name == kind.group and self._scene.style.mode == "kserve"
            enough = alike[kind.name] > kind.min_count and together[kind.group] > 1
            if enough and not is_first and self._is_opened_here(name):
                yield name

    def _may_close(self, plan: LivingPlan, group: str) -> bool:
        """Return whether what stands empty in a group is closed at all."""
        pace = self._scene.pace
        return pace.may_close and (pace.empty_s is not None or group in plan.fleet.released)

    def _is_opened_here(self, name: str) -> bool:
        server = self._publisher.server(name)
        return (
            server is not None
            and not server.deleting
            and server.annotations.get(ANNOTATION_OPENED_BY) == CONTROLLER
        )

    def _may_go(self, plan: LivingPlan, name: str) -> bool:
        """Return whether nobody asks for a shard: no TrainedModel, no document, no gateway."""
        if name not in self._closable(plan) or self._is_named(name):
            return False
        return name not in self._scene.postponed and self._router.follows(plan.group_of_shard(name))

    def _is_named(self, name: str) -> bool:
        return any(model.parent == name for model in self._scene.world.models.values())

    def _close(self, plan: LivingPlan, name: str, empty_s: float) -> None:
        del self._due[name]
        kind = plan.shards[name].shard_type
        plan.close(name)
        self._scene.decided["closed"] += 1
        self._scene.tell_of(
            plan.fleet.source,
            "ShardClosed",
            f"shard {name} of type {kind}, which was empty for {empty_s:.0f} s",
        )

    def _follow(self, plan: LivingPlan, name: str, now: float) -> bool:
        """Open a shard again that a TrainedModel has come to name, or count it no more once it is gone."""
        server = self._publisher.server(name)
        if server is not None and not server.deleting and self._is_named(name):
            plan.reopen(name)
            self._scene.touch((name,), None, now)
            self._scene.unserved.add(name)
            self._scene.unfronted = True
            self._scene.decided["opened"] += 1
            self._scene.tell_of(
                plan.fleet.source, "ShardOpened", f"shard {name} again, which a TrainedModel names"
            )
            return True
        if server is None and next(self._deletions(name), None) is None:
            plan.count_no_more(name)
            self._scene.unfronted = True  # it may be the last of a group that was released
            return True
        return False

    def _deletions(self, name: str) -> Iterator[Write]:
        """Yield the deletion of a shard's documents; then of what stands beside its server; then of that."""
        world, mode = self._scene.world, self._scene.style.mode
        documents = [
            view
            for view in world.maps_of(name)
            if is_ours(view.labels) and (is_document_of(view, name) or mode == "standalone")
        ]
        for item in documents:
            yield delete("ConfigMap", item.name, uid=item.uid, resource_version=item.resource_version)
        if documents:
            return
        names = [shard_service_name(name), *([predictor_name(name)] if mode == "standalone" else [])]
        beside: list[tuple[Kind, ShardView | None]] = [("Service", world.services.get(of)) for of in names]
        beside.append(("PodDisruptionBudget", world.budgets.get(name)))
        ours = [(kind, view) for kind, view in beside if view is not None and _is_managed(view)]
        for kind, view in ours:
            yield delete(kind, view.name, uid=view.uid, resource_version=view.resource_version)
        server = self._publisher.server(name)
        if not ours and server is not None and not server.deleting:
            yield delete(
                server_kind(mode), server.name, uid=server.uid, resource_version=server.resource_version
            )


def _is_managed(view: ShardView) -> bool:
    return view.labels.get(LABEL_MANAGED_BY) == MANAGED_BY
