"""Servers and documents of shards: what is missing of them, what is not as it should be, what is stale."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

from planner.controller.living import LivingPlan
from planner.controller.objects import (
    MODELS_JSON_PREFIX,
    config_map_writes,
    documents_of,
    is_document_of,
    server_kind,
    server_name,
    server_objects,
    wanted_config_maps,
)
from planner.controller.scene import Scene
from planner.controller.views import ConfigMapView, ShardView, is_ours
from planner.controller.writes import Write, create, patch
from planner.manifests.contents import ShardContents
from planner.manifests.model_config import ShardDocuments
from planner.manifests.names import model_config_name

_log = logging.getLogger(__name__)
_MODELS_JSON = "models.json"

_SERVER_S = 5.0
"""Between looks at a shard whose server is missing, or is ending."""


class Publisher:
    """Brings the objects of shards to what the plans say.

    Parameters
    ----------
    scene
        What is shared.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.stale: set[str] = set()

    def has_server(self, shard: str) -> bool:
        """Return whether a shard's server is there, and not on its way out."""
        view = self.server(shard)
        return view is not None and not view.deleting

    def server(self, shard: str) -> ShardView | None:
        """Return what runs a shard; None where nothing does, or something that is not ours is called so."""
        world, mode = self._scene.world, self._scene.style.mode
        known = world.inference_services if server_kind(mode) == "InferenceService" else world.deployments
        view = known.get(server_name(shard, mode))
        return None if view is None or not is_ours(view.labels) else view

    def is_theirs(self, name: str) -> bool:
        """Return whether an InferenceService is somebody else's: what it serves is not ours to take away."""
        view = self._scene.world.inference_services.get(name)
        return view is not None and not is_ours(view.labels)

    def writes(self, now: float) -> Iterator[Write]:
        """Yield what may be written of shards: servers that are missing, then documents of the others.

        Documents that say what they should are noted as published.
        """
        yield from self._servers()
        for shard in list(self._scene.postponed.due(now)):
            plan = self._scene.fleets.with_shard(shard)
            if plan is None:
                self._scene.postponed.done(shard)
            elif self.has_server(shard):
                yield from self._documents(plan, shard, now)
            else:
                self._scene.postponed.rest(shard, now + _SERVER_S)  # or until it is seen
        yield from self._stale_entries()

    # --------------------------------------------------------------------------------------------- servers

    def _servers(self) -> Iterator[Write]:
        """Yield the creation of the servers that are missing; those that are there are ``renewing``'s."""
        scene = self._scene
        for shard in sorted(scene.unserved):
            plan = scene.fleets.with_shard(shard)
            if plan is None or (plan.is_released(shard) and shard in plan.idle):
                scene.unserved.discard(shard)  # what nobody needs any more is not made again
                continue
            found = self._missing_objects(plan, shard)
            if not found and self.has_server(shard):
                scene.unserved.discard(shard)
            yield from found

    def _missing_objects(self, plan: LivingPlan, shard: str) -> list[Write]:
        style, world = self._scene.style, self._scene.world
        complete = style.mode == "kserve" or server_name(shard, style.mode) in world.services
        kind = plan.fleet.parts.shard_types[plan.shards[shard].shard_type]
        if self.server(shard) is not None and complete and (kind.replicas == 1 or shard in world.budgets):
            return []
        contents = plan.contents(shard)
        documents = self.documents(contents, plan)
        count = 1 if documents is None else len(documents.placement)
        known = {
            "InferenceService": world.inference_services,
            "Deployment": world.deployments,
            "Service": world.services,
            "PodDisruptionBudget": world.budgets,
        }
        return [
            create(what, body)
            for what, body in server_objects(contents, plan.fleet, style, documents=count)
            if body["metadata"]["name"] not in known[what]
        ]

    # ------------------------------------------------------------------------------------------- documents

    def _documents(self, plan: LivingPlan, shard: str, now: float) -> Iterator[Write]:
        scene = self._scene
        contents = plan.contents(shard)
        documents = self.documents(contents, plan)
        if documents is None:
            scene.postponed.done(shard)
            return
        wanted = wanted_config_maps(contents, plan.fleet, scene.style, documents)
        world = scene.world
        stale = [view for view in world.maps_of(shard) if is_document_of(view, shard)]
        found = list(config_map_writes(wanted, world.config_maps, stale=stale))
        if found:
            scene.postponed.written(shard, now)
            yield from found
        else:
            scene.published(shard)

    def documents(self, contents: ShardContents, plan: LivingPlan) -> ShardDocuments | None:
        """Return a shard's documents; None where one model alone is too long for a ConfigMap."""
        try:
            return documents_of(contents, plan.fleet)
        except ValueError as error:
            _log.error("the documents of shard %s cannot be written: %s", contents.shard.name, error)
            return None

    def _stale_entries(self) -> Iterator[Write]:
        """Yield what takes entries out of ``models.json`` that KServe's controller has left behind in it.

        An entry is stale where its TrainedModel is one of ours that names another shard, and no copy of it is
        on its way out there. Further replicas are in the placement documents alone. Those of an
        InferenceService that somebody else has made stay: clients may still ask there.
        """
        if self._scene.style.mode != "kserve":
            return
        for shard in sorted(self.stale):
            view = self._scene.world.config_maps.get(model_config_name(shard))
            write = None if view is None else self._without_stale(view, shard)
            if write is None:
                self.stale.discard(shard)
            else:
                yield write

    def _without_stale(self, view: ConfigMapView, shard: str) -> Write | None:
        try:
            entries = json.loads(view.data.get(_MODELS_JSON, "[]"))
            kept = [entry for entry in entries if not self._is_stale(str(entry["modelName"]), shard)]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            _log.warning("ConfigMap %s is not as KServe writes it, and left alone: %s", view.name, error)
            return None
        if len(kept) == len(entries):
            return None
        body = {"data": {_MODELS_JSON: json.dumps(kept, separators=(",", ":"))}}
        return patch("ConfigMap", view.name, body, resource_version=view.resource_version)

    def _is_stale(self, name: str, shard: str) -> bool:
        view, holder = self._scene.world.models.get(name), self._scene.fleets.holding(name)
        if view is None or holder is None or view.parent == shard or self.is_theirs(shard):
            return False
        return not any(copy.leaving and copy.placed.shard == shard for copy in holder[0].copies(name))


def shard_of_models_json(name: str) -> str | None:
    """Return the shard that a ConfigMap named as KServe names its own is of; None for any other."""
    if not name.startswith(MODELS_JSON_PREFIX):
        return None
    return name.removeprefix(MODELS_JSON_PREFIX).rpartition("-")[0]


def shard_of_config_map(name: str) -> str:
    """Return the shard that one of our ConfigMaps, or the one with its ``models.json``, is of."""
    return shard_of_models_json(name) or name.removeprefix("shardpack-").rpartition("-")[0]
