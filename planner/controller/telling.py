"""Statuses of TrainedModels: seldom, and never behind what matters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.controller.assigning import Assigner
from planner.controller.conditions import (
    ASSIGNED,
    LOADED,
    NOT_SERVING,
    READY,
    TRANSFORMER_READY,
    Life,
    conditions_of,
    merged,
    worded_as_before,
)
from planner.controller.scene import Scene
from planner.controller.views import ModelView
from planner.controller.writes import Write, patch
from planner.manifests.deployment import predictor_url
from planner.manifests.routes import gateway_url


class Teller:
    """Writes statuses.

    A model's status is written once it is assigned, and again when all of its replicas are loaded, when one
    has failed, or when its address begins or ceases to answer. What lies between is written only if it lasts,
    and so is a transformer that is not ready: thousands of models may name the one whose pod starts anew.

    Parameters
    ----------
    scene
        What is shared.
    assigner
        Knows what was refused.
    """

    def __init__(self, scene: Scene, assigner: Assigner) -> None:
        self._scene, self._assigner = scene, assigner
        self._held: dict[str, float] = {}

    def next(self) -> float | None:
        """Return when a status that is held back has lasted long enough; None if none is."""
        return min(self._held.values(), default=None)

    def writes(self, now: float, stamp: str) -> Iterator[Write]:
        """Yield the statuses that are to be written; models that are looked at again later stay noted.

        Parameters
        ----------
        now, stamp
            The time on the clock that is waited by, and as conditions say it.
        """
        scene = self._scene
        scene.untold |= {name for name, until in self._held.items() if until <= now}
        for name in sorted(scene.untold):
            if scene.is_blocked(name) or name in scene.unnamed:
                continue
            view = scene.world.models.get(name)
            if view is not None and not scene.may_be_written(view):
                continue
            scene.untold.discard(name)
            if view is None or view.deleting:
                self._held.pop(name, None)
                continue
            write = self._write(view, now, stamp)
            if write is not None:
                scene.untold.add(name)  # until the answer shows it
                yield write

    def life(self, view: ModelView) -> Life | None:
        """Return what is known of a model; None for one that is none of ours."""
        scene = self._scene
        holder, refused = scene.fleets.holding(view.name), self._assigner.refused.get(view.name)
        wanted = scene.fleets.find(view)
        if wanted is None or (holder is None and refused is None):
            return None
        plan, group = holder or (None, "")
        copies = plan.copies(view.name) if plan else ()
        through = plan.transformer_of(view.name) if plan else None
        states = [(copy, scene.hearing.copy_state(view.name, copy.placed.shard)) for copy in copies]
        staying = [state for copy, state in states if not copy.leaving]
        replicas = max((copy.model.replicas for copy, _ in states if not copy.leaving), default=1)
        return Life(
            replicas=replicas,
            copies=staying,
            leaving=[state for copy, state in states if copy.leaving],
            reason=refused.reason if refused else "",
            refusal=refused.sentence if refused else "",
            transformer=through,
            is_transformed=through is None or scene.world.serving[group, through] > 0,
        )

    def _write(self, view: ModelView, now: float, stamp: str) -> Write | None:
        life = self.life(view)
        standalone = self._scene.style.mode == "standalone"
        if life is None:
            self._held.pop(view.name, None)
            return None
        wanted = worded_as_before(view.conditions, conditions_of(life, ready=standalone))
        conditions = merged(view.conditions, wanted, now=stamp)
        body: dict[str, Any] = {} if conditions is None else {"conditions": list(conditions)}
        if standalone:
            url = self._url(view, life)
            if view.url != url or view.address != url:
                body |= {"url": url, "address": {"url": url} if url else None}
        if not body:
            self._held.pop(view.name, None)
            return None
        if "url" not in body and not _matters(view, life, wanted) and not self._lasts(view.name, now):
            return None
        self._held.pop(view.name, None)
        return patch(
            "TrainedModel",
            view.name,
            {"status": body},
            resource_version=view.resource_version,
            status=True,
        )

    def _url(self, view: ModelView, life: Life) -> str | None:
        """Return where a model is asked: at its gateway, else at the one shard that has it."""
        found = self._scene.fleets.find(view)
        assert found is not None
        namespace = found[0].fleet.scenario.namespace
        if self._scene.style.options.gateway != "none":
            return gateway_url(found[1], namespace, view.name) if life.copies else view.url
        # During a move the parent stays the old shard until the new one has loaded the model.
        is_there = view.parent in {copy.shard for copy in (*life.copies, *life.leaving)}
        return predictor_url(view.parent, namespace, view.name) if life.replicas == 1 and is_there else None

    def _lasts(self, name: str, now: float) -> bool:
        until = self._held.setdefault(name, now + self._scene.pace.status_s)
        return until <= now


def _matters(view: ModelView, life: Life, wanted: tuple[dict[str, Any], ...]) -> bool:
    """Return whether what has changed is to be known at once."""
    known = {item["type"]: item for item in view.conditions}
    for item in wanted:
        before = known.get(item["type"])
        if before is None:
            return True
        urgent = item["type"] in (ASSIGNED, READY, TRANSFORMER_READY) and item["reason"] != NOT_SERVING
        if item["type"] == READY and life.unheard:
            urgent = urgent and life.serves  # who has just begun to lead has asked nobody yet
        if urgent and _differs(before, item):
            return True
        if item["type"] == LOADED and _differs(before, item) and (life.is_loaded or life.failed):
            return True
    return False


def _differs(before: Any, item: dict[str, Any]) -> bool:
    if item["type"] in (READY, TRANSFORMER_READY):
        return bool(before.get("status") != item["status"])
    if item["type"] == ASSIGNED and item["status"] == "False":
        # The numbers in a refusal change with every neighbour that comes or goes.
        return bool((before.get("status"), before.get("reason")) != ("False", item["reason"]))
    return any(before.get(key) != value for key, value in item.items())
