"""Servers of shards that were opened with another template: told of, and replaced one after the other."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from planner.controller.living import LivingPlan
from planner.controller.objects import server_kind, server_objects, template_of
from planner.controller.publishing import Publisher
from planner.controller.scene import Scene
from planner.controller.views import ANNOTATION_OPENED_BY, CONTROLLER, LABEL_TEMPLATE, PodView, ShardView
from planner.controller.writes import Told, Write, rewrite
from planner.domain.placement import Shard
from planner.manifests.names import LABEL_SHARD

_LOOK_S = 1.0
"""Between looks at shards that wait for others' pods."""

Pods = Mapping[str, Sequence[PodView]]
"""Those that are not on their way out, by shard."""


class Renewer:
    """Finds servers that the controller would open otherwise today, and replaces their templates.

    Of a group one server at a time, while the pods of all its other shards are ready: a pod is once its agent
    has attempted every model. Kubernetes then starts the new pod beside the old one. A shard whose pods are
    not ready as they are goes first.

    Parameters
    ----------
    scene
        What is shared; ``unjudged`` are the shards whose servers are to be looked at.
    publisher
        Knows servers.
    """

    def __init__(self, scene: Scene, publisher: Publisher) -> None:
        self._scene, self._publisher = scene, publisher
        self._templates: dict[Shard, str] = {}
        self._told: dict[str, str] = {}
        self._renewed: dict[str, str] = {}
        self._looked = float("-inf")
        self.outdated: dict[str, str] = {}
        """The template that a server should have, by shard."""

    def forget_templates(self) -> None:
        """Take note that fleets have changed."""
        self._templates.clear()

    def next(self) -> float | None:
        """Return when to look again; None where nothing is to be replaced."""
        return self._looked + _LOOK_S if self._replaces and self.outdated else None

    def writes(self, now: float) -> Iterator[Write]:
        """Yield the servers that are replaced now, once it was told which are outdated."""
        for shard in sorted(self._scene.unjudged):
            self._judge(shard)
        self._scene.unjudged.clear()
        if not self._replaces or not self.outdated or now < self._looked + _LOOK_S:
            return
        self._looked = now
        pods: dict[str, list[PodView]] = defaultdict(list)
        for pod in self._scene.world.pods.values():
            if pod.shard and not pod.deleting and pod.address is not None:
                pods[pod.shard].append(pod)
        for plan in self._scene.fleets.plans.values():
            for group in plan.fleet.kept:
                write = self._next_of(plan, group, pods)
                if write is not None:
                    yield write

    def wrote(self, server: ShardView) -> None:
        """Tell that a server was replaced; not again where somebody undid it, and it was done once more."""
        shard, mark = server.labels[LABEL_SHARD], server.labels[LABEL_TEMPLATE]
        if self._renewed.get(shard) != mark:
            self._renewed[shard] = mark
            self._tell(server, "Renewed", f"shard {shard} gets the template that a new one would have")

    # ---------------------------------------------------------------------------------------------- inside

    @property
    def _replaces(self) -> bool:
        return self._scene.style.renew != "never"

    def _judge(self, shard: str) -> None:
        """Note whether a server is outdated: one that bears no mark may have any template, so it is."""
        plan, server = self._scene.fleets.with_shard(shard), self._publisher.server(shard)
        self.outdated.pop(shard, None)
        if plan is None or server is None or server.deleting or plan.is_released(shard):
            return
        ours = server.annotations.get(ANNOTATION_OPENED_BY) == CONTROLLER
        if not ours or server.labels.get(LABEL_TEMPLATE) == (wanted := self._template(plan, shard)):
            return
        self.outdated[shard] = wanted
        if self._told.get(shard) != wanted:
            self._told[shard] = wanted
            self._tell(server, "Outdated", self._fate(plan.shards[shard]))

    def _fate(self, shard: Shard) -> str:
        what = f"shard {shard.name} runs with another template than a new one would"
        if self._may_be_replaced(shard):
            return f"{what}: it is replaced when its turn comes"
        option = "rolling" if shard.node is None else "all"
        return f"{what}: it stays until its server is deleted, or --renew-servers is {option}"

    def _may_be_replaced(self, shard: Shard) -> bool:
        """Return whether a server may be replaced: one on a node cannot stand beside its successor."""
        return self._scene.style.renew == "all" or (self._replaces and shard.node is None)

    def _template(self, plan: LivingPlan, shard: str) -> str:
        """Return the mark of a shard's template; those that differ in their names alone have one."""
        alike = dataclasses.replace(plan.shards[shard], name="any")
        if alike not in self._templates:
            self._templates[alike] = template_of(plan.contents(shard), plan.fleet, self._scene.style)
        return self._templates[alike]

    def _next_of(self, plan: LivingPlan, group: str, pods: Pods) -> Write | None:
        """Return the replacement of a group's next server; None while others have to be waited for."""
        shards = plan.shards_of(group)
        wanted = [item.name for item in shards if item.name in self.outdated and self._may_be_replaced(item)]
        restless = [item.name for item in shards if wanted and not self._is_calm(item.name, pods)]
        first = next((name for name in wanted if restless == [name]), None)
        if first is None and not restless:
            first = next(iter(wanted), None)
        return None if first is None else self._replaced(plan, first)

    def _is_calm(self, shard: str, pods: Pods) -> bool:
        """Return whether a shard runs with the template that its server has, and is ready."""
        server, here = self._publisher.server(shard), pods.get(shard, ())
        if server is None or server.deleting:
            return False
        mark = server.labels.get(LABEL_TEMPLATE)
        return len(here) >= server.replicas and all(
            pod.ready and mark in (None, pod.template) for pod in here
        )

    def _replaced(self, plan: LivingPlan, shard: str) -> Write | None:
        scene, server, contents = self._scene, self._publisher.server(shard), plan.contents(shard)
        documents = self._publisher.documents(contents, plan)
        if server is None or documents is None:
            return None
        kind = server_kind(scene.style.mode)
        objects = server_objects(contents, plan.fleet, scene.style, documents=len(documents.placement))
        body = dict(objects)[kind]
        return rewrite(kind, server.name, body, resource_version=server.resource_version)

    def _tell(self, server: ShardView, reason: str, message: str) -> None:
        told = Told(
            kind=server_kind(self._scene.style.mode),
            name=server.name,
            uid=server.uid,
            level="Normal",
            reason=reason,
            message=message,
        )
        self._scene.told.append(told)
