"""Whether a TrainedModel would get a place as a cluster stands, and where; nothing is carried out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from planner.controller.engine import Engine
from planner.controller.living import Copy, LivingPlan
from planner.controller.objects import Style
from planner.controller.views import Object
from planner.units import format_bytes

ANY_TIME = 0.0
STAMP = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a replica would go.

    Parameters
    ----------
    replica, shard, devices
        Which, on which shard, on which of its devices.
    is_new
        Whether the shard would be opened for it.
    shard_type
        The shard's type.
    needs_bytes, left_bytes
        GPU memory that it takes on each of its devices, and what is then left there for loading models; None
        where it uses no GPU.
    """

    replica: int
    shard: str
    devices: tuple[int, ...]
    is_new: bool
    shard_type: str
    needs_bytes: int | None
    left_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the controller would do with a TrainedModel.

    Parameters
    ----------
    model
        Its name.
    is_ours
        Whether it belongs to a group of a fleet; one that does not is none of the controller's business.
    places
        Where its replicas would be.
    refusal
        Why not all of them have a place; empty if they have.
    """

    model: str
    is_ours: bool
    places: tuple[Place, ...] = ()
    refusal: str = ""

    @property
    def fits(self) -> bool:
        """Whether it would get all that it asks for."""
        return self.is_ours and not self.refusal


def fit(
    objects: Mapping[str, Iterable[Object]], item: Object, *, namespace: str, style: Style | None = None
) -> Verdict:
    """Return what the controller would do with a TrainedModel, beside those that are there.

    Parameters
    ----------
    objects
        What is in the cluster, by kind (``world.KINDS``); kinds that are left out have none.
    item
        The TrainedModel; one of the same name takes its place.
    namespace, style
        As the controller has them.
    """
    engine = Engine(namespace, style=style)
    for kind, items in objects.items():
        engine.replace(kind, items, ANY_TIME)
    engine.step(ANY_TIME, STAMP)
    name = item["metadata"]["name"]
    before = {shard for plan in engine.plans for shard in plan.shards}
    metadata = {
        key: value for key, value in item["metadata"].items() if key not in ("uid", "resourceVersion")
    }
    engine.see("TrainedModel", {**item, "metadata": metadata}, ANY_TIME)
    engine.step(ANY_TIME, STAMP)
    plan = next((plan for plan in engine.plans if plan.group_of_model(name) is not None), None)
    refusal = engine.refusal(name)
    if plan is None:
        return Verdict(model=name, is_ours=refusal is not None, refusal=refusal or "")
    return verdict_of(plan, name, before=before, refusal=refusal or "")


def verdict_of(plan: LivingPlan, name: str, *, before: Container[str], refusal: str) -> Verdict:
    """Return what became of a model in a plan.

    Parameters
    ----------
    plan, name
        Where it was settled, and which it is.
    before
        The shards that were open before.
    refusal
        Why not all of its replicas have what they ask for; empty if they have.
    """
    copies = [copy for copy in plan.copies(name) if not copy.leaving]
    places = tuple(_place(plan, copy, before) for copy in copies)
    return Verdict(model=name, is_ours=True, places=places, refusal=refusal)


def _place(plan: LivingPlan, copy: Copy, before: Container[str]) -> Place:
    placed, resident = copy.placed, plan.resident(copy)
    on_gpu = resident.need.on_device and plan.contents(placed.shard).on_gpu
    left = min((plan.left_bytes(placed.shard, device) for device in placed.devices), default=0)
    return Place(
        replica=placed.replica,
        shard=placed.shard,
        devices=placed.devices,
        is_new=placed.shard not in before,
        shard_type=plan.shards[placed.shard].shard_type,
        needs_bytes=resident.need.steady_bytes if on_gpu else None,
        left_bytes=left if on_gpu else None,
    )


def place_sentence(place: Place) -> str:
    """Return where a replica would go, with numbers."""
    devices = ",".join(map(str, place.devices))
    new = f", a new shard of type {place.shard_type}" if place.is_new else ""
    where = f"replica {place.replica} on {place.shard}/{devices}{new}"
    if place.needs_bytes is None or place.left_bytes is None:
        return where
    needs, left = format_bytes(place.needs_bytes), format_bytes(place.left_bytes)
    return f"{where}: needs {needs} of GPU memory, {left} are left then"


def is_trained_model(item: Any) -> bool:
    """Return whether something is a TrainedModel whose fields can be looked at, wherever it comes from."""
    if not isinstance(item, dict) or item.get("kind") != "TrainedModel":
        return False
    metadata, spec = item.get("metadata"), item.get("spec") or {}
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return False
    model = spec.get("model") or {} if isinstance(spec, dict) else None
    if not isinstance(model, dict) or not isinstance(spec.get("inferenceService") or "", str):
        return False
    texts = (model.get("storageUri") or "", model.get("framework") or "", str(model.get("memory") or ""))
    return all(isinstance(text, str) for text in texts) and all(
        _is_texts(metadata.get(key) or {}) for key in ("labels", "annotations")
    )


def _is_texts(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(text, str) for text in found.values())
