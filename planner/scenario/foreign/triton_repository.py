"""A plain Triton model repository: ``<model>/config.pbtxt`` and ``<model>/<version>/...``.

From the configs: backend, largest batch, instances, GPU or CPU, and who calls whom. From the files: their
sizes, as an estimate of what a loaded model takes, which is no more than a beginning: the weights are in it,
what a backend needs to run them is not. The rest of a config stays with the files and goes where they go.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.errors import Fault, InputError
from planner.scenario.documents import read_text
from planner.scenario.foreign.collect import Collector, TextDocument, scenario_name
from planner.scenario.foreign.ensembles import cycles, together
from planner.scenario.foreign.model_config import ModelConfig, parse_config
from planner.units import quantity_bytes

CONFIG = "config.pbtxt"
ENSEMBLE = "ensemble"

_BACKEND_OF_FILE = {
    "model.onnx": "onnxruntime",
    "model.plan": "tensorrt",
    "model.pt": "pytorch",
    "model.savedmodel": "tensorflow",
    "model.graphdef": "tensorflow",
    "model.py": "python",
    "model.xml": "openvino",
}
"""The backend that Triton takes for a model whose config names none, by the name of its file or folder."""

_ON_CPU_ONLY = {"openvino", ENSEMBLE}
_UNKNOWN_WITHOUT_KIND = {"python"}
_MOST_FILES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A model's folder.

    Parameters
    ----------
    folder
        Where it is; its name is the model's.
    config
        What its config says, the backend filled in.
    disk_bytes, loaded_bytes
        Sizes of all its files, and of those of the versions that are loaded.
    """

    folder: Path
    config: ModelConfig
    disk_bytes: int
    loaded_bytes: int

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def document(self) -> TextDocument:
        return TextDocument(str(self.folder / CONFIG))


def read_repositories(paths: Iterable[str], collector: Collector) -> None:
    """Add the models of Triton repositories, each a folder of models' folders."""
    found: dict[str, _Found] = {}
    for path in paths:
        for folder in _folders(path, collector):
            try:
                model = _found(folder)
            except InputError as error:
                collector.log.extend(error.faults)
                continue
            if model.name in found:
                message = f"{model.name!r} is in {found[model.name].folder.parent} as well"
                collector.log.add(model.document, ("name",), message)
                continue
            found[model.name] = model
    calls = {name: model.config.steps for name, model in found.items() if model.config.steps}
    for cycle in cycles(calls):
        document = found[cycle[0]].document
        collector.log.add(document, ("ensemble_scheduling",), f"calls itself: {' -> '.join(cycle)}")
    keys = together(calls)
    for name in sorted(found):
        _note(found[name], found, collector)
        _add(found[name], keys.get(name), collector)


# ------------------------------------------------------------------------------------------------ the folders


def _folders(path: str, collector: Collector) -> Iterator[Path]:
    """Yield the folders of models; what else is there is told."""
    root, document = Path(path), TextDocument(path)
    if not root.is_dir():
        collector.log.add(document, (), "is no folder of models" if root.exists() else "no such folder")
        return
    if (root / CONFIG).exists():
        collector.log.add(document, (), f"is a model, not a repository: give {root.resolve().parent}")
        return
    some = False
    for folder in sorted(item for item in root.iterdir() if item.is_dir() and not item.name.startswith(".")):
        if (folder / CONFIG).is_file() or _version_folders(folder):
            some = True
            yield folder
        else:
            message = f"has neither {CONFIG} nor a version: not a model"
            collector.note(TextDocument(str(folder)), (), message)
    if not some:
        collector.log.add(document, (), "holds no model")


def _version_folders(folder: Path) -> dict[int, Path]:
    return {
        int(item.name): item
        for item in folder.iterdir()
        if item.name.isascii() and item.name.isdecimal() and len(item.name) < 19 and item.is_dir()
    }


def _found(folder: Path) -> _Found:
    """Return a model's folder with its config and sizes.

    Raises
    ------
    InputError
        Its config cannot be read, or nothing tells its backend.
    """
    path = folder / CONFIG
    config = (
        parse_config(read_text(path, file=str(path)), file=str(path)) if path.is_file() else ModelConfig()
    )
    if config.name and config.name != folder.name:
        message = f"{config.name!r} is not the name of its folder, {folder.name!r}: Triton refuses it"
        raise InputError([Fault(path="name", file=str(path), message=message)])
    versions = _version_folders(folder)
    backend = ENSEMBLE if config.steps else config.backend or _backend_of(versions)
    if backend is None or (backend == ENSEMBLE and not config.steps):
        message = "nothing tells its backend" if backend is None else "an ensemble needs steps"
        raise InputError([Fault(path="backend", file=str(path), message=message)])
    sizes = {version: _size(item) for version, item in versions.items()}
    return _Found(
        folder=folder,
        config=ModelConfig(
            name=config.name,
            backend=backend,
            max_batch=config.max_batch,
            groups=config.groups,
            steps=config.steps,
            versions=config.versions,
        ),
        disk_bytes=_size(folder),
        loaded_bytes=sum(sizes[version] for version in _loaded(config, sizes)),
    )


def _backend_of(versions: Mapping[int, Path]) -> str | None:
    names = {item.name for folder in versions.values() for item in folder.iterdir()}
    return next((backend for name, backend in _BACKEND_OF_FILE.items() if name in names), None)


def _loaded(config: ModelConfig, sizes: Mapping[int, int]) -> list[int]:
    """Return the versions that Triton loads."""
    match config.versions:
        case None:
            return list(sizes)
        case int(newest):
            return sorted(sizes)[-newest:]
        case named:
            return [version for version in sizes if version in named]


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder, links followed, each folder once.

    Raises
    ------
    InputError
        A link leads nowhere, or there are more files than any model has.
    """
    total = count = 0
    seen: set[str] = set()
    for base, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in files:
            path = Path(base) / name
            count += 1
            try:
                total += path.stat().st_size
            except OSError as error:
                message = f"cannot be read: {error.strerror or error}"
                raise InputError([Fault(path="", file=str(path), message=message)]) from None
        if count > _MOST_FILES:
            message = f"holds more than {_MOST_FILES:,} files"
            raise InputError([Fault(path="", file=str(folder), message=message)])
    return total


# ------------------------------------------------------------------------------------------------- the models


def _note(model: _Found, found: Mapping[str, _Found], collector: Collector) -> None:
    """Tell what of a model is not carried over."""
    document, config = model.document, model.config
    for step in dict.fromkeys(config.steps):
        if step not in found:
            collector.note(document, ("ensemble_scheduling",), f"its step {step!r} is in no repository given")
        elif scenario_name(step) != step:
            message = f"its step {step!r} has another name now: write that into the config"
            collector.note(document, ("ensemble_scheduling",), message)
    if any(len(set(group.gpus)) > 1 for group in config.groups):
        message = "instances on several GPUs are not carried over: a replica has one, more are replicas"
        collector.note(document, ("instance_group",), message)
    if any(group.kind == "KIND_MODEL" for group in config.groups):
        message = "it places itself: write what it uses on a GPU into its footprint, and devicesPerReplica"
        collector.note(document, ("instance_group",), message)
    if config.backend in _UNKNOWN_WITHOUT_KIND and _kinds(config) <= {"KIND_AUTO"}:
        message = "whether its code uses a GPU is not in its config: taken as on the CPU"
        collector.note(document, ("instance_group",), message)


def _add(model: _Found, key: str | None, collector: Collector) -> None:
    base = collector.given.storage.get("")
    folder = model.folder.resolve()
    collector.add(
        {
            "name": model.name,
            "backend": model.config.backend,
            "storageUri": folder.as_uri() if base is None else f"{base.rstrip('/')}/{model.name}",
            **({} if key is None else {"together": scenario_name(key)}),
            "footprints": _footprints(model),
        },
        model.document,
        {"name": ("name",), "backend": ("backend",), "batch": ("max_batch_size",), "storageUri": ()},
    )


def _kinds(config: ModelConfig) -> set[str]:
    return {group.kind for group in config.groups} or {"KIND_AUTO"}


def _footprints(model: _Found) -> list[dict[str, Any]]:
    """Return what a replica uses: on a GPU, on a CPU, or, where its config leaves it open, on either."""
    config = model.config
    kinds = _kinds(config)
    if config.backend in _ON_CPU_ONLY or kinds == {"KIND_CPU"}:
        return [_footprint(model, "*", gpu=False)]
    if kinds == {"KIND_AUTO"}:
        if config.backend in _UNKNOWN_WITHOUT_KIND:
            return [_footprint(model, "*", gpu=False)]
        return [_footprint(model, "*", gpu=True), _footprint(model, "cpu", gpu=False)]
    return [_footprint(model, "*", gpu=True)]


def _footprint(model: _Found, device_class: str, *, gpu: bool) -> dict[str, Any]:
    instances = sum(group.count for group in model.config.groups) or 1
    loaded, disk = quantity_bytes(model.loaded_bytes * instances), quantity_bytes(model.disk_bytes)
    return {
        "class": device_class,
        "batch": max(1, model.config.max_batch),
        "instances": instances,
        **({"gpuMemory": loaded} if gpu else {}),
        "memory": loaded,
        "disk": disk,
        "source": "estimated",
    }
