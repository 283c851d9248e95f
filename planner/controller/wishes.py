"""What a TrainedModel asks for: a model of the planner's."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from pydantic import ValidationError

from planner.controller.fleet import Fleet, scenario_of_group
from planner.controller.living import LivingPlan
from planner.controller.views import ModelView
from planner.domain.footprint import Amount
from planner.domain.model import Model
from planner.manifests.names import LABEL_GROUP
from planner.scenario.check_models import faults_of_model
from planner.scenario.documents import path_text
from planner.scenario.faults import shape_faults
from planner.scenario.model_annotation import ANNOTATION_MODEL, AnnotationError, read_model_annotation
from planner.scenario.resolve import model_of
from planner.scenario.scenario_shape import ModelShape
from planner.scenario.trained_models import flat_annotations
from planner.units import parse_bytes

_BACKENDS = {"onnx": "onnxruntime"}
"""What serves a format that has not the name of its backend."""

_log = logging.getLogger(__name__)


class WishError(ValueError):
    """A TrainedModel does not say what it asks for, or asks for what its fleet does not know."""


def group_of(view: ModelView, fleet: Fleet) -> str | None:
    """Return the group of a fleet that a TrainedModel belongs to; None where it is none of ours.

    Its label names it, else the shard, or the group, that its ``spec.inferenceService`` names.
    """
    label = view.labels.get(LABEL_GROUP)
    if label is not None:
        return label if label in fleet.groups else None
    return fleet.group_of(view.parent)


def wish_of(view: ModelView, fleet: Fleet, group: str) -> Model:
    """Return the model that a TrainedModel asks for.

    What it has no field for stands in its annotation ``shardpack.dev/model``, in the words of a scenario.
    Without footprints there ``spec.model.memory`` is what it takes of host memory and, on GPUs, of theirs;
    with them it is the least that they take of host memory where KServe checks it.

    Raises
    ------
    WishError
        The annotation cannot be read, names what the fleet does not have, or says what no scenario may say. A
        fault of ours that one model brings to light, which is logged, is one of this model too: whoever
        writes one stops no other.
    """
    try:
        return _wish_of(view, fleet, group)
    except WishError:
        raise
    except Exception as error:
        _log.exception("model %s cannot be read", view.name)
        raise WishError(f"cannot be read: {error!r}") from error


def said_in(view: ModelView) -> tuple[str | None, tuple[str, ...]]:
    """Return what decides, of the annotations of a TrainedModel, what it asks for."""
    return view.annotations.get(ANNOTATION_MODEL), flat_annotations(view.annotations)


def _wish_of(view: ModelView, fleet: Fleet, group: str) -> Model:
    data = {
        "backend": _BACKENDS.get(view.framework, view.framework),
        "footprints": _footprints(view.memory, fleet, group),
        **_annotated(view),
        "name": view.name,
        "storageUri": view.storage_uri,
        "framework": view.framework,
    }
    try:
        model = model_of(ModelShape.model_validate(data))
    except ValidationError as error:
        loc, message = shape_faults(error, ModelShape)[0]
        raise WishError(f"{path_text(loc)}: {message}") from None
    if model.backend not in fleet.parts.backends:
        known = ", ".join(sorted(fleet.parts.backends))
        raise WishError(f"backend: {model.backend!r} is not known; known are {known}")
    if model.transformer is not None and model.transformer not in fleet.parts.transformers:
        known = ", ".join(sorted(fleet.parts.transformers)) or "none"
        raise WishError(f"transformer: {model.transformer!r} is not of the fleet; it has {known}")
    for fault in faults_of_model(model, scenario_of_group(fleet, group)):
        raise WishError(f"{fault.path}: {fault.message}")
    return _as_kserve_counts(model, view.memory) if fleet.counts_memory else model


def _as_kserve_counts(model: Model, memory: str) -> Model:
    """Return a model of which no footprint takes less host memory than its TrainedModel says."""
    try:
        least = parse_bytes(memory)
    except ValueError as error:
        raise WishError(f"spec.model.memory: {error}") from None
    if all(option.memory_bytes.p50 >= least for option in model.footprints):
        return model
    return dataclasses.replace(
        model,
        footprints=tuple(
            dataclasses.replace(
                option,
                memory_bytes=Amount(
                    p50=max(least, option.memory_bytes.p50), p95=max(least, option.memory_bytes.p95)
                ),
            )
            for option in model.footprints
        ),
    )


def wish_again(plan: LivingPlan, view: ModelView, group: str) -> Model:
    """Return the model that a TrainedModel asks for; who was just read back is not worked out a second time.

    Raises
    ------
    WishError
        As ``wish_of``.
    """
    known = plan.wishes.pop(view.name, None)
    return known[1] if known is not None and known[0] is view else wish_of(view, plan.fleet, group)


def _annotated(view: ModelView) -> dict[str, Any]:
    try:
        said = read_model_annotation(view.annotations, memory=view.memory)
    except AnnotationError as error:
        raise WishError(f"annotation {ANNOTATION_MODEL}: {error}") from None
    if said is None and (flat := flat_annotations(view.annotations)):
        raise WishError(
            f"annotation {flat[0]}: only {ANNOTATION_MODEL} is read here, JSON of all such fields"
        )
    return said or {}


def _footprints(memory: str, fleet: Fleet, group: str) -> list[dict[str, str]]:
    """Return one footprint for each class of device that the group may have."""
    return [
        {"class": name, "memory": memory, **({"gpuMemory": memory} if on_gpu else {})}
        for name, on_gpu in fleet.classes_of[group]
    ]
