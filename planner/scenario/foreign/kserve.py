"""KServe's TrainedModels and InferenceServices, and ModelMesh's.

``serving.kserve.io``: TrainedModel, Predictor and ServingRuntime ``v1alpha1``, InferenceService ``v1beta1``
with its predictor under ``model`` or under the name of a framework (read in KServe's and ModelMesh Serving's
types, 2026). An InferenceService for several models is a shard type; one with a storageUri is a model; in the
deployment mode ModelMesh each is a model, whose files are found by a storage key and a path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from planner.scenario.documents import Document, Loc
from planner.scenario.foreign.collect import Collector
from planner.scenario.foreign.formats import backend_of, server_of
from planner.scenario.foreign.pods import ServerPod, add_shard_type, footprint, gpu_count, mapping
from planner.scenario.trained_models import trained_model_of

MODE = "serving.kserve.io/deploymentMode"
_FRAMEWORKS = (
    "huggingface",
    "lightgbm",
    "onnx",
    "paddle",
    "pmml",
    "pytorch",
    "sklearn",
    "tensorflow",
    "triton",
    "xgboost",
)
_RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")
_SPEC: Loc = ("spec", "predictor")

_NOT_OF_A_SERVICE = {
    "transformer": "a transformer is not carried over: its CPU and memory are in no footprint",
    "explainer": "an explainer is not carried over",
}
_NOT_OF_A_PREDICTOR = {
    "canaryTrafficPercent": "a canary is not carried over: the model is the one that is written here",
    "batcher": "the batcher is not carried over",
    "logger": "the logger is not carried over",
    "containers": "containers of its own are not carried over",
    "workerSpec": "workers on further nodes are not carried over",
}


def read_kserve(documents: Iterable[Document], collector: Collector, *, mesh_only: bool = False) -> None:
    """Add the models and shard types of KServe's objects.

    Parameters
    ----------
    documents
        Kubernetes objects of any kind.
    collector
        Where they go.
    mesh_only
        Whether only what ModelMesh serves is taken.
    """
    for document in documents:
        if not _read(document, collector, mesh_only=mesh_only):
            collector.leave(document)


def _read(document: Document, collector: Collector, *, mesh_only: bool) -> bool:
    """Take an object; return whether it is of a kind that is taken."""
    kind, mesh = document.data["kind"], _is_mesh(document.data)
    if kind == "InferenceService" and mesh:
        _mesh_service(document, collector)
    elif kind == "Predictor":
        _predictor(document, collector)
    elif kind in _RUNTIMES:
        _runtime(document, collector)
    elif mesh_only:
        return False
    elif kind == "TrainedModel":
        found = trained_model_of(document, collector.log)
        if found is not None:
            collector.add_model(found.value, document, ("metadata", "name"))
    elif kind == "InferenceService":
        _service(document, collector)
    else:
        return False
    return True


def _is_mesh(data: Mapping[str, Any]) -> bool:
    return mapping(mapping(data.get("metadata")).get("annotations")).get(MODE) == "ModelMesh"


# ------------------------------------------------------------------------------------------ InferenceServices


def _service(document: Document, collector: Collector) -> None:
    """Take an InferenceService: a model if it names files, else a shard type."""
    field, part = _framework(document)
    collector.note_fields(document, ("spec",), _NOT_OF_A_SERVICE)
    if part is None:
        collector.note(document, _SPEC, "a predictor of containers of its own is not carried over")
        return
    loc = (*_SPEC, field)
    if part.get("storageUri") is None and part.get("storage") is None:
        _shards(document, field, part, collector)
        return
    predictor = document.data["spec"]["predictor"]
    collector.note_fields(document, _SPEC, _NOT_OF_A_PREDICTOR)
    _note_scaling(document, predictor, collector)
    kind = _kind(field, part)
    if kind.get("framework") == "triton":
        message = (
            "is a repository of Triton's, which may hold several models: shardpack import triton reads it"
        )
        collector.note(document, loc, message)
    gpus = gpu_count(part.get("resources"))
    if gpus:
        message = "takes whole GPUs here: write what it uses into its footprint as gpuMemory and gpuTime"
        collector.note(document, (*loc, "resources"), message)
    collector.add(
        {
            **_head(document),
            **kind,
            "storageUri": _uri(part, document, loc, collector),
            **_replicas(predictor),
            **({"devicesPerReplica": gpus} if gpus > 1 else {}),
            "footprints": [footprint(part.get("resources"), collector)],
        },
        document,
        _places(loc),
    )


def _shards(document: Document, field: str, part: Mapping[str, Any], collector: Collector) -> None:
    """Take an InferenceService that TrainedModels name: it is a shard, and its kind a shard type."""
    metadata, predictor = mapping(document.data.get("metadata")), document.data["spec"]["predictor"]
    server = server_of(part.get("runtime"), field, mapping(part.get("modelFormat")).get("name"))
    if server is None:
        collector.note(document, (*_SPEC, field), "its server is none that shards run: not a shard type")
        return
    pod = ServerPod(
        name=str(metadata.get("name")),
        runtime=server,
        resources=part.get("resources"),
        selector=predictor.get("nodeSelector"),
        loc=(*_SPEC, field, "resources"),
    )
    add_shard_type(pod, document, collector)


def _framework(document: Document) -> tuple[str, Mapping[str, Any] | None]:
    """Return the field of the predictor that names its server, and what it says."""
    predictor = mapping(mapping(document.data.get("spec")).get("predictor"))
    for field in ("model", *_FRAMEWORKS):
        if isinstance(predictor.get(field), dict):
            return field, predictor[field]
    return "model", None


def _head(document: Document) -> dict[str, Any]:
    metadata = mapping(document.data.get("metadata"))
    return {"name": metadata.get("name"), "labels": metadata.get("labels") or {}}


def _kind(field: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """Return backend and framework of a predictor."""
    found = mapping(part.get("modelFormat")).get("name") if field == "model" else field
    if not isinstance(found, str):
        return {"backend": found}
    return {"backend": backend_of(found, server=server_of(part.get("runtime"))), "framework": found}


def _replicas(predictor: Mapping[str, Any]) -> dict[str, Any]:
    least = predictor.get("minReplicas")
    return {} if least is None else {"replicas": max(1, least) if isinstance(least, int) else least}


def _note_scaling(document: Document, predictor: Mapping[str, Any], collector: Collector) -> None:
    least, most = predictor.get("minReplicas", 1), predictor.get("maxReplicas")
    if least == 0:
        message = "scaling to zero is not carried over: the model has one replica"
        collector.note(document, (*_SPEC, "minReplicas"), message)
    if isinstance(most, int) and isinstance(least, int) and most > max(1, least):
        message = f"scaling up to {most} is not carried over: replicas are a fixed number"
        collector.note(document, (*_SPEC, "maxReplicas"), message)


def _places(loc: Loc) -> dict[str, Loc]:
    return {
        "": loc,
        "name": ("metadata", "name"),
        "labels": ("metadata", "labels"),
        "backend": (*loc, "modelFormat", "name"),
        "framework": (*loc, "modelFormat", "name"),
        "storageUri": (*loc, "storageUri"),
        "replicas": (*_SPEC, "minReplicas"),
        "cpu": (*loc, "resources"),
        "memory": (*loc, "resources"),
        "devicesPerReplica": (*loc, "resources"),
    }


# ------------------------------------------------------------------------------------------------- ModelMesh


def _mesh_service(document: Document, collector: Collector) -> None:
    field, part = _framework(document)
    loc = (*_SPEC, field)
    collector.note_fields(document, ("spec",), _NOT_OF_A_SERVICE)
    if part is None:
        collector.log.add(document, loc, "is required: what the model is and where its files are")
        return
    _mesh_model(document, part, _kind(field, part), loc, collector)


def _predictor(document: Document, collector: Collector) -> None:
    """Take a Predictor, ModelMesh's own kind from before it read InferenceServices."""
    spec = mapping(document.data.get("spec"))
    model_format = mapping(spec.get("modelType")).get("name")
    runtime = mapping(spec.get("runtime")).get("name")
    backend = backend_of(str(model_format), server=server_of(runtime)) if model_format else None
    message = "is not carried over: write what it uses of a GPU into its footprint as gpuMemory"
    collector.note_fields(document, ("spec",), {"gpu": message})
    kind = {"backend": backend, "framework": model_format}
    _mesh_model(document, spec, kind, ("spec",), collector)


def _mesh_model(
    document: Document, part: Mapping[str, Any], kind: Mapping[str, Any], loc: Loc, collector: Collector
) -> None:
    """Add a model that ModelMesh serves, with one replica: how many it has is ModelMesh's own affair."""
    memory = collector.memory(None)
    if not memory:
        collector.note(document, loc, "ModelMesh states no memory: give one for all, or write footprints")
    collector.add(
        {
            **_head(document),
            **kind,
            "storageUri": _uri(part, document, loc, collector),
            "footprints": [{"class": "*", **memory}],
        },
        document,
        {**_places(loc), "backend": (*loc, "modelType" if loc == ("spec",) else "modelFormat", "name")},
    )


def _uri(part: Mapping[str, Any], document: Document, loc: Loc, collector: Collector) -> str | None:
    """Return where a model's files are: said outright, or by a key and a path.

    What a key stands for is in a Secret that is not read: the caller says it, or the object by a parameter.
    """
    if part.get("storageUri") is not None:
        found: str = part["storageUri"]
        return found
    storage = mapping(part.get("storage"))
    path, key = storage.get("path", part.get("path")), storage.get("key")
    if key is None:
        key = mapping(storage.get("s3")).get("secretKey")
    base = _base(storage, str(key), collector)
    if not isinstance(path, str) or not path:
        collector.log.add(document, (*loc, "storage", "path"), "is required: where the model's files are")
        return "unknown://path"
    if base is None:
        message = f"say where this key leads with --storage {key}=s3://BUCKET"
        collector.log.add(document, (*loc, "storage", "key"), message)
        return "unknown://key"
    return f"{base.rstrip('/')}/{path.lstrip('/')}"


def _base(storage: Mapping[str, Any], key: str, collector: Collector) -> str | None:
    if key in collector.given.storage:
        return collector.given.storage[key]
    parameters = mapping(storage.get("parameters"))
    bucket = parameters.get("bucket", mapping(storage.get("s3")).get("bucket"))
    scheme = {"s3": "s3", "gcs": "gs", "pvc": "pvc"}.get(str(parameters.get("type", "s3")))
    name = parameters.get("name") if scheme == "pvc" else bucket
    return f"{scheme}://{name}" if scheme is not None and isinstance(name, str) else None


def _runtime(document: Document, collector: Collector) -> None:
    """Take a ServingRuntime of ModelMesh's as a shard type; KServe's own are templates of single models."""
    spec = mapping(document.data.get("spec"))
    name = mapping(document.data.get("metadata")).get("name")
    if spec.get("multiModel") is not True or spec.get("disabled") is True:
        return
    server = server_of(mapping(spec.get("builtInAdapter")).get("serverType"), name)
    if server not in ("triton", "mlserver"):
        collector.note(document, ("spec",), "its server is none that shards run: not a shard type")
        return
    containers = spec.get("containers")
    first = mapping(containers[0]) if isinstance(containers, list) and containers else {}
    pod = ServerPod(
        name=str(name),
        runtime=server,
        resources=first.get("resources"),
        selector=spec.get("nodeSelector"),
        loc=("spec", "containers"),
    )
    add_shard_type(pod, document, collector)
