"""Objects from a folder of manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from planner.errors import Fault, InputError
from planner.manifests.render import KUSTOMIZATION
from planner.scenario.yaml_text import MAX_DEPTH, DepthError, NodeLoader

_SUFFIXES = (".yaml", ".yml", ".json")
_PLAIN_KEYS = {"apiVersion", "kind", "metadata", "resources", "sortOptions"}
"""What a kustomization may say that changes no object."""


def read_manifests(directory: Path) -> tuple[dict[str, Any], ...]:
    """Return the objects of a folder: of the files that its kustomization lists, or of all that are in it.

    Raises
    ------
    InputError
        A file cannot be read or holds something else than objects, or the kustomization changes objects; with
        every such fault.
    """
    faults: list[Fault] = []
    objects: list[dict[str, Any]] = []
    for path in _files(directory):
        try:
            objects.extend(_objects(path))
        except InputError as error:
            faults.extend(error.faults)
    if not objects and not faults:
        faults.append(Fault(path="", file=str(directory), message="holds no objects"))
    if faults:
        raise InputError(faults)
    return tuple(objects)


def _files(directory: Path) -> list[Path]:
    kustomization = directory / KUSTOMIZATION
    if not kustomization.exists():
        return _files_in(directory)
    documents = list(_documents(kustomization))
    content = documents[0] if len(documents) == 1 and isinstance(documents[0], dict) else {}
    further = sorted(content.keys() - _PLAIN_KEYS)
    if not content or further:
        what = f"changes objects ({', '.join(further)})" if further else "is not one document"
        message = f"{what}: build it with kubectl kustomize into a folder, and apply that"
        raise InputError([Fault(path="", file=str(kustomization), message=message)])
    names = content.get("resources") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError([Fault(path="resources", file=str(kustomization), message="is no list of files")])
    return [directory / name for name in names]


def _files_in(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
        raise InputError([Fault(path="", file=str(directory), message=message)]) from error


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    for number, item in enumerate(_documents(path), start=1):
        if item is None:
            continue
        if not _is_object(item):
            message = (
                f"document {number} is no Kubernetes object: it needs apiVersion, kind and metadata.name"
            )
            raise InputError([Fault(path="", file=str(path), message=message)])
        yield from item["items"] if item["kind"] == "List" else (item,)


def _is_object(item: object) -> bool:
    if not isinstance(item, dict) or not {"apiVersion", "kind"} <= item.keys():
        return False
    if item["kind"] == "List":
        return isinstance(item.get("items"), list) and all(map(_is_object, item["items"]))
    metadata = item.get("metadata")
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str)


def _documents(path: Path) -> Iterator[Any]:
    try:
        yield from yaml.load_all(path.read_text(encoding="utf-8"), NodeLoader)
    except DepthError as error:
        message = f"is nested deeper than {MAX_DEPTH} levels"
        raise InputError([Fault(path="", file=str(path), message=message)]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        message = f"is not YAML: {getattr(error, 'problem', None) or error}"
        raise InputError([Fault(path="", file=str(path), line=line, message=message)]) from error
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise InputError([Fault(path="", file=str(path), message=message)]) from error
    except UnicodeDecodeError as error:
        raise InputError([Fault(path="", file=str(path), message="is not UTF-8 text")]) from error
