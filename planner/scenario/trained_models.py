"""Models from a folder of KServe TrainedModel objects (``serving.kserve.io/v1alpha1``).

Taken as they stand: ``metadata.name``, ``metadata.labels`` without those of an earlier plan,
``spec.model.storageUri`` and ``spec.model.framework``. Derived: the backend from the framework (``onnx`` is
served by ``onnxruntime``, others by the backend of their name) and one footprint for any device class whose
host memory is ``spec.model.memory``, declared. What a TrainedModel cannot say stands in annotations
``shardpack.dev/<field>``: the fields of ``flat.FLAT_FIELDS`` in kebab case, as ``shardpack.dev/gpu-memory:
600Mi``, ``shardpack.dev/class: nvidia-t4``, ``shardpack.dev/replicas: "2"``. Where there is
``shardpack.dev/model``, which manifests write and the controller reads, it is read instead of them.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError

from planner.domain.footprint import ANY_CLASS
from planner.domain.model import Model
from planner.errors import Fault, InputError
from planner.scenario.documents import Document, Loc, parse_documents, path_text, read_text
from planner.scenario.draft import Located
from planner.scenario.faults import FaultLog, shape_faults
from planner.scenario.flat import FLAT_FIELDS, field_at, nested
from planner.scenario.kubernetes_objects import SUFFIXES, in_lists
from planner.scenario.model_annotation import (
    ANNOTATION_MODEL,
    AnnotationError,
    read_model_annotation,
)
from planner.scenario.resolve import model_of
from planner.scenario.scenario_shape import ModelShape
from planner.scenario.shapes import Scalar, Shape

_log = logging.getLogger(__name__)

ANNOTATION = "shardpack.dev/"
_SAID: Loc = ("metadata", "annotations", ANNOTATION_MODEL)
_BACKENDS = {"onnx": "onnxruntime"}
_FROM_SPEC = {"name", "storageUri", "framework", "labels"}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_KEBAB = {_CAMEL.sub("-", name).lower(): name for name in FLAT_FIELDS if name not in _FROM_SPEC}


def annotation_of(field: str) -> str | None:
    """Return the annotation that stands for a flat field; None where the object itself says it."""
    return next((ANNOTATION + kebab for kebab, name in _KEBAB.items() if name == field), None)


def flat_annotations(annotations: Iterable[str]) -> tuple[str, ...]:
    """Return those annotations, sorted, that stand for a flat field."""
    return tuple(
        sorted(
            key
            for key in annotations
            if key.startswith(ANNOTATION) and key.removeprefix(ANNOTATION) in _KEBAB
        )
    )


class _Foreign(Shape):
    """A part of an object that is not ours: fields that we do not read are none of our business."""

    model_config = ConfigDict(extra="ignore")


class _Metadata(_Foreign):
    name: str
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _ModelSpec(_Foreign):
    storage_uri: str
    framework: str
    memory: Scalar


class _Spec(_Foreign):
    inference_service: str | None = None
    model: _ModelSpec


class _TrainedModel(_Foreign):
    api_version: Literal["serving.kserve.io/v1alpha1"]
    metadata: _Metadata
    spec: _Spec


class _TrainedModelDocument(Document):
    """A TrainedModel whose faults, found in the model that it became, are told at its own fields."""

    def __init__(self, document: Document, said: Collection[str]) -> None:
        super().__init__(file=document.file, data=document.data, text="")
        self._said = said
        self._source = document

    def fault(self, loc: Loc, message: str) -> Fault:
        """Return a fault at a place of the model, or of the object itself."""
        if loc and loc[0] in self._said:
            return self._source.fault(_SAID, f"{path_text(loc)}: {message}")
        return self._source.fault(self._own(loc), message)

    def _own(self, loc: Loc) -> Loc:
        match loc:
            case ("footprints", int(), *rest):
                name = field_at(tuple(rest), (), option=True) if rest else "class"
            case ("metadata" | "spec" | "apiVersion" | "kind", *_):
                return loc
            case (str(), *_):
                name = field_at(loc, (), option=False)
            case _:
                return ()
        annotation = annotation_of(name) or ""
        annotations = self.data["metadata"].get("annotations") or {}
        if annotation in annotations:
            return ("metadata", "annotations", annotation)
        known: dict[str, Loc] = {
            "name": ("metadata", "name"),
            "labels": ("metadata", "labels"),
            "storageUri": ("spec", "model", "storageUri"),
            "framework": ("spec", "model", "framework"),
            "backend": ("spec", "model", "framework"),
            "memory": ("spec", "model", "memory"),
        }
        return known.get(name, ("metadata", "annotations", annotation))


def read_trained_models(folder: Path, *, root: Path, file: str, log: FaultLog) -> list[Located[Model]]:
    """Return the models of a folder's YAML and JSON files; objects of other kinds are left out.

    Symbolic links are followed as long as they stay below ``root``.
    """
    if not folder.is_dir():
        log.extend([Fault(path="", message="is not a folder of TrainedModel files", file=file)])
        return []
    models: list[Located[Model]] = []
    before = len(log)
    for path in sorted(item for item in folder.iterdir() if item.suffix in SUFFIXES):
        name = f"{file.rstrip('/')}/{path.name}"
        if not path.resolve().is_relative_to(root.resolve()):
            log.extend([Fault(path="", message="leads out of the scenario's folder", file=name)])
            continue
        try:
            documents = parse_documents(read_text(path, file=name), file=name)
        except InputError as error:
            log.extend(error.faults)
            continue
        for document in in_lists(documents, log):
            model = trained_model_of(document, log)
            models.extend([model] if model is not None else [])
    if not models and len(log) == before:
        log.extend([Fault(path="", message="holds no TrainedModel in .yaml, .yml or .json files", file=file)])
    return models


def trained_model_of(document: Document, log: FaultLog) -> Located[Model] | None:
    """Return the model of an object; None if it is none or has a fault, which is noted."""
    if not isinstance(document.data, dict) or "kind" not in document.data:
        log.add(document, ("kind",), "is required: the file is not a Kubernetes object")
        return None
    if document.data["kind"] != "TrainedModel":
        return None
    try:
        shape = _TrainedModel.model_validate(document.data)
    except ValidationError as error:
        for loc, message in shape_faults(error, _TrainedModel):
            log.add(document, loc, message)
        return None
    _near_misses(shape, document, log)
    annotations = shape.metadata.annotations or {}
    try:
        said = read_model_annotation(annotations, memory=shape.spec.model.memory)
    except AnnotationError as error:
        log.add(document, _SAID, str(error))
        return None
    if said is not None and (flat := flat_annotations(annotations)):
        told = "%s: TrainedModel %s: %s: not read beside %s, which says what it asks for"
        _log.warning(told, document.file, shape.metadata.name, ", ".join(flat), ANNOTATION_MODEL)
    own = _TrainedModelDocument(document, said or ())
    data = _flat(shape) if said is None else {**_plain(shape), **said}
    try:
        return Located(model_of(ModelShape.model_validate({**data, **_own(shape)})), own, ())
    except ValidationError as error:
        for loc, message in shape_faults(error, ModelShape):
            log.add(own, loc, message)
        return None


def _near_misses(shape: _TrainedModel, document: Document, log: FaultLog) -> None:
    """Annotations of ours that are not fields are written by the planner itself; a typing error is not."""
    for key in shape.metadata.annotations or {}:
        name = key.removeprefix(ANNOTATION)
        if key.startswith(ANNOTATION) and name not in _KEBAB:
            name = _CAMEL.sub("-", name).lower().replace("_", "-")  # gpuMemory and gpu_memory are meant too
            close = difflib.get_close_matches(name, list(_KEBAB), n=1, cutoff=0.85)
            if close:
                message = f"unknown annotation; did you mean {ANNOTATION + close[0]!r}?"
                log.add(document, ("metadata", "annotations", key), message)


def _own(shape: _TrainedModel) -> dict[str, Any]:
    """Return what the object itself says, whatever its annotations do."""
    spec = shape.spec.model
    return {"name": shape.metadata.name, "storageUri": spec.storage_uri, "framework": spec.framework}


def _plain(shape: _TrainedModel) -> dict[str, Any]:
    """Return what is taken of an object where its annotations say nothing else."""
    spec, labels = shape.spec.model, shape.metadata.labels or {}
    return {
        "backend": _BACKENDS.get(spec.framework, spec.framework),
        "labels": {key: value for key, value in labels.items() if not _is_ours(key, value)},
        "footprints": [{"class": ANY_CLASS, "memory": spec.memory}],
    }


def _is_ours(label: str, value: str) -> bool:
    """Return whether a label says where an earlier plan has put a model, which is nothing of the model."""
    return label.startswith(ANNOTATION) or (label, value) == ("app.kubernetes.io/managed-by", "shardpack")


def _flat(shape: _TrainedModel) -> dict[str, Any]:
    annotations = shape.metadata.annotations or {}
    cells = {
        _KEBAB[key.removeprefix(ANNOTATION)]: annotations[key]
        for key in annotations
        if key.startswith(ANNOTATION) and key.removeprefix(ANNOTATION) in _KEBAB
    }
    plain = _plain(shape)
    option = {**plain["footprints"][0], **nested(cells, option=True)}
    return {**plain, **nested(cells, option=False), "footprints": [option]}
