"""Seldon Core v2's Models and Servers (``mlops.seldon.io/v1alpha1``; read in its operator's types, 2026).

A Model names its files and, by requirements, the capabilities of a server that can load it; which of them
tell the format is in ``formats``. A Server is a shard type if its own podSpec says what it has: mostly that
is in a ServerConfig of the installation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from planner.scenario.documents import Document
from planner.scenario.foreign.collect import Collector
from planner.scenario.foreign.formats import backend_of, format_in, server_of
from planner.scenario.foreign.pods import ServerPod, add_shard_type, mapping

API = "mlops.seldon.io/"

_NOT_OF_A_MODEL = {
    "artifactVersion": "is not carried over: let the storageUri name the version's folder",
    "dedicated": "is not carried over: a model does not have a server of its own",
    "explainer": "what it explains is not carried over",
    "llm": "is not carried over",
    "logger": "the logger is not carried over",
    "maxReplicas": "scaling is not carried over: replicas are a fixed number",
    "minReplicas": "scaling is not carried over: replicas are a fixed number",
    "parameters": "parameters of the load are not carried over",
    "schemaUri": "is not carried over",
    "secretName": "is not carried over: the agent has its own credentials",
    "server": "is not carried over: the planner chooses",
}
_SERVER_CONTAINERS = ("triton", "mlserver", "server")


def read_seldon(documents: Iterable[Document], collector: Collector) -> None:
    """Add the models and shard types of Seldon's objects."""
    for document in documents:
        kind = document.data["kind"]
        ours = str(document.data.get("apiVersion")).startswith(API)
        if ours and kind == "Model":
            _model(document, collector)
        elif ours and kind == "Server":
            _server(document, collector)
        else:
            collector.leave(document)


def _model(document: Document, collector: Collector) -> None:
    spec, metadata = mapping(document.data.get("spec")), mapping(document.data.get("metadata"))
    if spec.get("preloaded") is True:
        collector.note(document, ("spec", "preloaded"), "is part of its server's image: no model to place")
        return
    collector.note_fields(document, ("spec",), _NOT_OF_A_MODEL)
    requirements = spec.get("requirements")
    words = [*(requirements if isinstance(requirements, list) else ()), spec.get("modelType")]
    found = format_in(words)
    if found is None:
        message = "names no format that a backend is known for, as sklearn or onnx"
        collector.log.add(document, ("spec", "requirements"), message)
        return
    if spec.get("memory") is None and collector.given.memory is None:
        collector.note(document, ("spec",), "states no memory: give one for all, or write footprints")
    replicas = spec.get("replicas", spec.get("minReplicas"))
    collector.add(
        {
            "name": metadata.get("name"),
            "labels": metadata.get("labels") or {},
            "backend": backend_of(found, server=server_of(*words)),
            "framework": found,
            "storageUri": spec.get("storageUri"),
            **({} if replicas is None else {"replicas": replicas}),
            "footprints": [{"class": "*", **collector.memory(spec.get("memory"))}],
        },
        document,
        {
            "": ("spec",),
            "name": ("metadata", "name"),
            "labels": ("metadata", "labels"),
            "storageUri": ("spec", "storageUri"),
            "memory": ("spec", "memory"),
            "replicas": ("spec", "replicas"),
        },
    )


def _server(document: Document, collector: Collector) -> None:
    spec, metadata = mapping(document.data.get("spec")), mapping(document.data.get("metadata"))
    server = server_of(spec.get("serverConfig"), metadata.get("name"))
    if server not in ("triton", "mlserver"):
        collector.note(
            document, ("spec", "serverConfig"), "its server is none that shards run: not a shard type"
        )
        return
    pod = mapping(spec.get("podSpec"))
    replicas = spec.get("replicas")
    # Its replicas hold different models: each is a shard.
    most = {"maxCount": replicas} if isinstance(replicas, int) and replicas > 0 else {}
    found = ServerPod(
        name=str(metadata.get("name")),
        runtime=server,
        resources=_server_container(pod).get("resources"),
        selector=pod.get("nodeSelector"),
        loc=("spec", "podSpec"),
    )
    add_shard_type(found, document, collector, **most)


def _server_container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = pod.get("containers")
    for item in containers if isinstance(containers, list) else ():
        if mapping(item).get("name") in _SERVER_CONTAINERS:
            return mapping(item)
    return {}
