"""A scenario's files to a ``Scenario``: every fault is found before one is raised."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.domain.fleet import Transformer
from planner.domain.model import Model
from planner.domain.scenario import Scenario
from planner.domain.services import all_services
from planner.scenario.catalogue import Catalogue, add_parts, shipped_catalogue
from planner.scenario.check_fleet import check_node_classes
from planner.scenario.check_services import check_service_names, check_services
from planner.scenario.checks import check
from planner.scenario.documents import Document, parse_document, read_document
from planner.scenario.draft import Draft, Located
from planner.scenario.faults import FaultLog, one_of
from planner.scenario.gather import Piece, gather
from planner.scenario.read_shape import Read, read_shape
from planner.scenario.resolve import cluster_of, model_of, nodes_of, policy_of, shard_type_of, transformer_of
from planner.scenario.scenario_shape import (
    CatalogShape,
    ClusterShape,
    ModelShape,
    PolicyShape,
    ScenarioPiece,
    ScenarioShape,
)
from planner.scenario.sources import Origin, models_from


def load_scenario(path: Path) -> Scenario:
    """Return the scenario of a file, with all that it includes and refers to.

    Raises
    ------
    InputError
        With every fault that was found, in document order, each with its path and line.
    """
    with _collector_paused():
        return _load(read_document(path), folder=path.parent)


def parse_scenario(text: str, *, file: str, directory: Path | None = None) -> Scenario:
    """Return the scenario of a text.

    Parameters
    ----------
    text
        YAML or JSON.
    file
        The name under which faults are reported.
    directory
        Where its relative paths start; None allows none.

    Raises
    ------
    InputError
        As ``load_scenario``.
    """
    with _collector_paused():
        return _load(parse_document(text, file=file), folder=directory)


def parse_fleet(text: str, *, file: str) -> Scenario:
    """Return a fleet that models are still to come for: a scenario whose ``models`` may be left out.

    Models are not known yet, so all device classes and backends of the catalogue and all of its transformers
    are part of it. It has no relative paths.

    Raises
    ------
    InputError
        As ``load_scenario``.
    """
    log = FaultLog()
    document = parse_document(text, file=file)
    spec = document.data.get("spec") if isinstance(document.data, dict) else None
    if isinstance(spec, dict):
        spec.setdefault("models", [])
    pieces = gather(document, folder=None, log=log)
    if not pieces or not pieces[-1].main:
        log.raise_if_any()
    draft = _draft(pieces, root=None, log=log)
    check(draft, log)
    log.raise_if_any()
    known = draft.catalogue
    scenario = dataclasses.replace(
        _scenario(draft),
        device_classes=tuple(known.device_classes[name] for name in sorted(known.device_classes)),
        backends=tuple(known.backends[name] for name in sorted(known.backends)),
        transformers=_transformers(draft, {item.value.name for item in draft.transformers}),
    )
    check_service_names(scenario, all_services(scenario), draft, log)
    log.raise_if_any()
    return scenario


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Millions of values are made and all of them stay: looking for garbage among them doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _load(document: Document, *, folder: Path | None) -> Scenario:
    log = FaultLog()
    pieces = gather(document, folder=folder, log=log)
    if not pieces or not pieces[-1].main:
        log.raise_if_any()
    draft = _draft(pieces, root=folder, log=log)
    check(draft, log)
    log.raise_if_any()
    scenario = _scenario(draft)
    check_services(scenario, draft, log)
    log.raise_if_any()
    return scenario


def _scenario(draft: Draft) -> Scenario:
    """Return the scenario with exactly those parts of the catalogue that it refers to."""
    shard_types = tuple(item.value for item in draft.shard_types)
    nodes = tuple(item.value for item in draft.nodes)
    models = tuple(sorted((item.value for item in draft.models), key=lambda model: model.name))
    classes = {item.device_class for item in shard_types}
    classes |= {device.device_class for node in nodes for device in node.devices}
    classes |= {option.device_class for model in models for option in model.footprints} - {"*"}
    catalogue = draft.catalogue
    return Scenario(
        name=draft.name,
        namespace=draft.namespace,
        cluster=draft.cluster,
        device_classes=tuple(catalogue.device_classes[name] for name in sorted(classes)),
        runtimes=tuple(catalogue.runtimes[name] for name in sorted({item.runtime for item in shard_types})),
        backends=tuple(catalogue.backends[name] for name in sorted({model.backend for model in models})),
        shard_types=shard_types,
        nodes=nodes,
        models=models,
        policy=draft.policy,
        transformers=_transformers(draft, {model.transformer for model in models}),
    )


def _transformers(draft: Draft, named: Collection[str | None]) -> tuple[Transformer, ...]:
    found = (item.value for item in draft.transformers if item.value.name in named)
    return tuple(sorted(found, key=lambda item: item.name))


# ------------------------------------------------------------------------------------------ the pieces


def _draft(pieces: tuple[Piece, ...], *, root: Path | None, log: FaultLog) -> Draft:
    """Read every piece and put them together; a later one wins where only one can."""
    catalogue = shipped_catalogue()
    assumed: dict[str, set[str]] = {}
    scenarios: list[tuple[Piece, Read[Any]]] = []
    for piece in pieces:
        data = _expand(piece, catalogue, log)
        shape: Any = (
            CatalogShape if piece.kind == "Catalog" else ScenarioShape if piece.main else ScenarioPiece
        )
        read: Read[Any] = _read_apart(data, shape) or read_shape(piece.document, data, shape=shape, log=log)
        if not read.sound:
            _assume(assumed, data)
        if piece.kind == "Catalog":
            add_parts(catalogue, read.shape.spec)
            catalogue.templates.update(
                {item["name"]: item for item in read.data["spec"].get("shardTypes", [])}
            )
        else:
            add_parts(catalogue, read.shape.spec.catalog)
            scenarios.append((piece, read))
    return _compose(scenarios, catalogue=catalogue, assumed=assumed, root=root, log=log)


def _read_apart(data: dict[str, Any], shape: Any) -> Read[Any] | None:
    """Return a sound piece, its models read one by one: their shapes would take more memory than they do.

    None where something has a fault: then the whole is read, for every fault that there is.
    """
    spec = data.get("spec")
    models = spec.get("models") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(models, list):
        return None
    try:
        rest = shape.model_validate({**data, "spec": {**spec, "models": []}})
        found = [model_of(ModelShape.model_validate(item)) for item in models]
    except ValidationError:
        return None
    return Read(shape=rest, data=data, positions={}, sound=True, models=found)


def _compose(
    scenarios: list[tuple[Piece, Read[Any]]],
    *,
    catalogue: Catalogue,
    assumed: dict[str, set[str]],
    root: Path | None,
    log: FaultLog,
) -> Draft:
    piece, read = scenarios[-1]
    metadata = read.shape.metadata
    draft = Draft(
        name=metadata.name,
        namespace=metadata.namespace,
        main=piece.document,
        policy_document=piece.document,
        catalogue=catalogue,
        assumed=assumed,
        sound=all(content.sound for _, content in scenarios),
    )
    _settings(draft, scenarios)
    _fleet(draft, scenarios, log)
    for part, content in scenarios:
        spec = content.shape.spec
        draft.transformers.extend(
            Located(transformer_of(shape), part.document, content.loc("transformers", index))
            for index, shape in enumerate(spec.transformers)
        )
        draft.models.extend(
            Located(model, part.document, content.loc("models", index))
            for index, model in enumerate(_models(content))
        )
        for index, source in enumerate(spec.models_from):
            if not content.sound and not source.model_fields_set:
                continue  # what it said was left out with its fault
            loc = content.loc("modelsFrom", index)
            origin = Origin(piece=part, loc=loc, root=root, catalogue=catalogue)
            draft.models.extend(models_from(source, origin, log))
    if draft.sound:
        _require_content(draft, scenarios, log)
    return draft


def _models(content: Read[Any]) -> Iterable[Model]:
    return map(model_of, content.shape.spec.models) if content.models is None else content.models


def _settings(draft: Draft, scenarios: list[tuple[Piece, Read[Any]]]) -> None:
    cluster: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    for piece, read in scenarios:
        cluster = merged(cluster, read.data["spec"].get("cluster") or {})
        policy = merged(policy, read.data["spec"].get("policy") or {})
        if read.data["spec"].get("policy"):
            draft.policy_document = piece.document
    draft.cluster = cluster_of(ClusterShape.model_validate(cluster))
    draft.policy = policy_of(PolicyShape.model_validate(policy))


def _fleet(draft: Draft, scenarios: list[tuple[Piece, Read[Any]]], log: FaultLog) -> None:
    for piece, read in scenarios:
        for index, shape in enumerate(read.shape.spec.nodes):
            loc = read.loc("nodes", index)
            check_node_classes(Located(shape, piece.document, loc), draft, log)
            draft.nodes.extend(Located(node, piece.document, loc) for node in nodes_of(shape))
    has_nodes = bool(draft.nodes) or bool(draft.assumed.get("nodes"))
    for piece, read in scenarios:
        for index, shape in enumerate(read.shape.spec.shard_types):
            runtime = draft.catalogue.runtimes.get(shape.runtime)
            loads = None if runtime is None else runtime.loads
            value = shard_type_of(shape, scenario=draft.name, has_nodes=has_nodes, loads=loads)
            draft.shard_types.append(Located(value, piece.document, read.loc("shardTypes", index)))


def _require_content(draft: Draft, scenarios: list[tuple[Piece, Read[Any]]], log: FaultLog) -> None:
    """Note that nothing says what to place or where; an empty list says so on purpose."""
    given = {field for piece, _ in scenarios for field in piece.document.data.get("spec") or {}}
    if not given & {"models", "modelsFrom"}:
        log.add(draft.main, ("spec", "models"), "is required (or modelsFrom)")
    if "shardTypes" not in given:
        log.add(draft.main, ("spec", "shardTypes"), "is required: what may be opened")


# ------------------------------------------------------------------------------- templates and assumptions


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping with the fields of both; ``over`` wins, mappings are merged field by field."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


_STAND_IN = {"runtime": "triton", "devices": {"class": "cpu"}, "resources": {"cpu": "1", "memory": "1Gi"}}
"""Takes the place of a template that does not exist, so that the rest of the entry is still checked."""


def _expand(piece: Piece, catalogue: Catalogue, log: FaultLog) -> dict[str, Any]:
    """Return a piece's data with every ``use`` of a shard type merged into what it names."""
    data: dict[str, Any] = piece.document.data
    spec = data.get("spec")
    entries = spec.get("shardTypes") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(entries, list):
        return data
    expanded = []
    for index, entry in enumerate(entries):
        use = entry.get("use") if isinstance(entry, dict) else None
        if not isinstance(use, str):
            expanded.append(entry)
            continue
        template = catalogue.templates.get(use)
        if template is None:
            message = one_of("shard type in the catalogue called", use, catalogue.templates)
            log.add(piece.document, ("spec", "shardTypes", index, "use"), message)
            template = {"name": use, **_STAND_IN}
        expanded.append(merged(template, entry))
    return {**data, "spec": {**spec, "shardTypes": expanded}}


def _assume(assumed: dict[str, set[str]], data: dict[str, Any]) -> None:
    """Note every name that a document with faults defines."""
    spec = data.get("spec")
    if not isinstance(spec, dict):
        return
    catalog = spec.get("catalog")
    for part in (spec, catalog if isinstance(catalog, dict) else {}):
        for field, items in part.items():
            if isinstance(items, list):
                names = (item.get("name") for item in items if isinstance(item, dict))
                assumed.setdefault(field, set()).update(name for name in names if isinstance(name, str))
