"""As much OpenAPI as kubectl needs to see that the server itself validates fields; no schemas."""

from __future__ import annotations

from tests.support.api_server.kinds import Catalogue, Kind
from tests.support.api_server.refusals import Object, no_such_path

_ROOT = "/openapi/v3"


def openapi(path: str, catalogue: Catalogue) -> Object:
    """The index of documents, or the document of one group and version.

    Raises
    ------
    RefusalError
        There is no such document.
    """
    places = {_place(kind) for kind in catalogue}
    if path == _ROOT:
        urls = {place: {"serverRelativeURL": f"{_ROOT}/{place}"} for place in sorted(places)}
        return {"paths": urls}
    place = path.removeprefix(f"{_ROOT}/")
    if place not in places:
        raise no_such_path()
    kinds = [kind for kind in catalogue if _place(kind) == place]
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": {_path(kind): _operations(kind) for kind in kinds},
        "components": {"schemas": {}},
    }


def _place(kind: Kind) -> str:
    return f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"


def _path(kind: Kind) -> str:
    inside = "namespaces/{namespace}/" if kind.namespaced else ""
    return f"/{_place(kind)}/{inside}{kind.plural}/{{name}}"


def _operations(kind: Kind) -> Object:
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    names = {"group": kind.group, "kind": kind.kind, "version": kind.version}
    operation = {
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-group-version-kind": names,
    }
    return {"patch": {**operation, "x-kubernetes-action": "patch"}}
