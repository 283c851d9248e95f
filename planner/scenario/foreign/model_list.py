"""Michelangelo's ``model-list.json``: what a sidecar of its Triton servers loads.

Read in ``michelangelo-ai/michelangelo`` (``go/components/inferenceserver/modelconfig``, 2026): the ConfigMap
``<inference server>-model-config`` holds, under the key ``model-list.json``, a list of entries ``name``,
``storage_path`` (earlier ``s3_path``), ``deployment_name``, ``phase`` (canary, staged or serving; none is
serving) and ``canary_pod``. Several deployments may name one model: its copies are the same, so it is one.
Neither a format nor a size is in it. Files may hold the list itself or the ConfigMap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from planner.errors import Fault, InputError
from planner.scenario.documents import (
    Document,
    Loc,
    json_fault,
    parse_documents,
    read_text,
)
from planner.scenario.foreign.collect import Collector
from planner.scenario.foreign.pods import mapping
from planner.scenario.kubernetes_objects import STDIN, in_lists, stdin_text

KEY = "model-list.json"
_SERVING, _LOADED = "serving", ("serving", "staged", "canary")


class _Entry(Document):
    """An entry of a list, which stands in a file or in a field of an object."""

    def __init__(self, source: Document, at: Loc, data: Any) -> None:
        super().__init__(file=source.file, data=data, text="")
        self._source, self._at = source, at

    def fault(self, loc: Loc, message: str) -> Fault:
        """Return a fault at a place of the entry."""
        return self._source.fault((*self._at, *loc), message)


def read_model_lists(paths: Iterable[str], collector: Collector, *, stdin: BinaryIO | None) -> None:
    """Add the models of model lists.

    Parameters
    ----------
    paths
        Files, folders with files ``model-list.json``, or ``-``.
    collector
        Where the models go. What runs them the lists do not say: the caller has to.
    stdin
        What ``-`` stands for.
    """
    seen: dict[str, tuple[str, _Entry]] = {}
    for path in paths:
        try:
            entries = [
                entry for name, text in _texts(path, stdin) for entry in _entries(name, text, collector)
            ]
        except InputError as error:
            collector.log.extend(error.faults)
            continue
        for entry in entries:
            _take(entry, seen, collector)


def _texts(path: str, stdin: BinaryIO | None) -> list[tuple[str, str]]:
    if path == STDIN:
        return [("<stdin>", stdin_text(stdin))]
    if not Path(path).is_dir():
        return [(path, read_text(Path(path), file=path))]
    found = sorted(Path(path).rglob(KEY))
    if not found:
        raise InputError([Fault(path="", file=path, message=f"holds no {KEY}")])
    return [(str(item), read_text(item, file=str(item))) for item in found]


def _entries(file: str, text: str, collector: Collector) -> list[_Entry]:
    """Return the entries of a text: a list, or ConfigMaps that hold lists."""
    documents = parse_documents(text, file=file)
    if len(documents) == 1 and isinstance(documents[0].data, list):
        collector.log.extend(documents[0].faults)
        return [_Entry(documents[0], (index,), item) for index, item in enumerate(documents[0].data)]
    found = []
    for document in in_lists(documents, collector.log):
        listed = mapping(mapping(document.data).get("data")).get(KEY)
        if not isinstance(listed, str):
            collector.log.add(
                document, ("data", KEY), "is required: the file is neither a list nor a ConfigMap"
            )
            continue
        at: Loc = ("data", KEY)
        try:
            items = json.loads(listed)
        except json.JSONDecodeError as error:
            collector.log.add(document, at, json_fault(error, file=file).message)
            continue
        except (ValueError, RecursionError):
            collector.log.add(document, at, "is not valid JSON")
            continue
        if not isinstance(items, list):
            collector.log.add(document, at, "expected a list of models")
            continue
        found += [_Entry(document, (*at, index), item) for index, item in enumerate(items)]
    return found


def _take(entry: _Entry, seen: dict[str, tuple[str, _Entry]], collector: Collector) -> None:
    """Add the model of an entry, unless it is another deployment's use of one that is there."""
    if not isinstance(entry.data, dict):
        collector.log.add(entry, (), "expected a mapping with name and storage_path")
        return
    earlier = "s3_path" in entry.data and "storage_path" not in entry.data
    name, field = entry.data.get("name"), "s3_path" if earlier else "storage_path"
    uri, phase = entry.data.get(field), entry.data.get("phase") or _SERVING
    if phase not in _LOADED:
        collector.log.add(entry, ("phase",), f"{phase!r} is not one of {', '.join(_LOADED)}")
        return
    if phase != _SERVING:
        collector.note(entry, ("phase",), f"{phase} is not carried over: the model is loaded as any other")
    if isinstance(name, str) and name in seen:
        if seen[name][0] != uri:
            collector.log.add(
                entry, (field,), f"{name!r} has other files in {seen[name][1].fault((), '').path}"
            )
        return
    if isinstance(name, str):
        seen[name] = (str(uri), entry)
    if collector.given.backend is None:
        collector.log.add(entry, (), "does not say what runs the model: give --backend for all")
        return
    deployment = entry.data.get("deployment_name")
    collector.add(
        {
            "name": name,
            "backend": collector.given.backend,
            "storageUri": uri,
            "labels": {"deployment": deployment} if isinstance(deployment, str) and deployment else {},
            "footprints": [{"class": "*", **collector.memory(None)}],
        },
        entry,
        {"name": ("name",), "storageUri": (field,), "": ()},
    )
