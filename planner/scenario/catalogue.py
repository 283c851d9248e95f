"""The catalogue that ships with the planner: GPU products, runtimes, backends and shard types."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

from planner.domain.fleet import Backend, DeviceClass, LoadCost, Runtime
from planner.scenario.documents import Document, parse_document
from planner.scenario.parts_shape import BackendShape, DeviceClassShape, LoadsShape, RuntimeShape
from planner.scenario.scenario_shape import CatalogParts, CatalogShape

_FILES = ("gpus.json", "runtimes.json", "backends.json", "shard_types.json")


@dataclass(slots=True)
class Catalogue:
    """What may be referred to, by name.

    ``templates`` are shard types as plain data: a scenario's ``use`` merges into one before it is read.
    """

    device_classes: dict[str, DeviceClass] = field(default_factory=dict)
    runtimes: dict[str, Runtime] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)


def add_parts(catalogue: Catalogue, parts: CatalogParts) -> None:
    """Add device classes, runtimes and backends; they replace those of the same name."""
    catalogue.device_classes.update({item.name: _device_class(item) for item in parts.device_classes})
    catalogue.runtimes.update({item.name: _runtime(item) for item in parts.runtimes})
    catalogue.backends.update({item.name: _backend(item) for item in parts.backends})


def _device_class(shape: DeviceClassShape) -> DeviceClass:
    return DeviceClass(
        name=shape.name,
        kind=shape.kind,
        memory_bytes=shape.memory,
        reserved_bytes=shape.reserved,
        product=shape.product,
        mig_profile=shape.mig_profile,
        source=shape.source,
    )


def _runtime(shape: RuntimeShape) -> Runtime:
    return Runtime(
        name=shape.name,
        backends=None if shape.backends is None else tuple(shape.backends),
        context_bytes=shape.context,
        pool_bytes=shape.pool,
        host_base_bytes=shape.host_base,
        loads=_load_cost(shape.loads),
        source=shape.source,
    )


def _load_cost(shape: LoadsShape | None) -> LoadCost | None:
    if shape is None:
        return None
    return LoadCost(each_ns=shape.each, per_known_ns=shape.per_known, at_start_ns=shape.at_start)


def _backend(shape: BackendShape) -> Backend:
    return Backend(
        name=shape.name,
        device_base_bytes=shape.device_base,
        host_base_bytes=shape.host_base,
        context_per_instance=shape.context_per_instance,
        pinnable=shape.pinnable,
        source=shape.source,
    )


@lru_cache(maxsize=1)
def _shipped() -> tuple[Document, ...]:
    folder = resources.files("planner.scenario") / "catalog"
    return tuple(
        parse_document((folder / name).read_text(encoding="utf-8"), file=f"catalog/{name}") for name in _FILES
    )


def shipped_catalogue() -> Catalogue:
    """Return a fresh copy of the catalogue that ships with the planner."""
    catalogue = Catalogue()
    for document in _shipped():
        shape = CatalogShape.model_validate(document.data)
        add_parts(catalogue, shape.spec)
        catalogue.templates.update(
            {item["name"]: item for item in document.data["spec"].get("shardTypes", [])}
        )
    return catalogue
