"""What there is: API groups, versions and kinds."""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.api_server.kinds import Catalogue, Kind
from tests.support.api_server.openapi import openapi
from tests.support.api_server.refusals import Object, no_such_path
from tests.support.api_server.schema import KUBERNETES_VERSION

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def discovered(path: str, catalogue: Catalogue) -> Object | None:  # noqa: PLR0911 - one for each path
    """The answer to a path that asks what there is; None for any other path.

    Raises
    ------
    RefusalError
        A group or version that there is not.
    """
    if path.startswith("/openapi/v3"):
        return openapi(path, catalogue)
    parts = path.strip("/").split("/")
    match parts:
        case ["version"]:
            return _version()
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            groups = sorted({kind.group for kind in catalogue if kind.group})
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(name, catalogue) for name in groups],
            }
        case ["apis", group]:
            found = _group(group, catalogue)
            if not found["versions"]:
                raise no_such_path()
            return {"kind": "APIGroup", "apiVersion": "v1", **found}
        case ["api", "v1"]:
            return _resources("", "v1", catalogue)
        case ["apis", group, version]:
            return _resources(group, version, catalogue)
    return None


def _version() -> Object:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{KUBERNETES_VERSION}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "none",
        "platform": "linux/amd64",
    }


def _group(name: str, catalogue: Catalogue) -> Object:
    versions = sorted({kind.version for kind in catalogue if kind.group == name}, key=_rank)
    found = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": found, "preferredVersion": found[0] if found else {}}


def _rank(version: str) -> tuple[int, str]:
    """Stable versions first."""
    return (2 if "alpha" in version else 1 if "beta" in version else 0, version)


def _resources(group: str, version: str, catalogue: Catalogue) -> Object:
    kinds = [kind for kind in catalogue if (kind.group, kind.version) == (group, version)]
    if not kinds:
        raise no_such_path()
    api_version = f"{group}/{version}" if group else version
    rows = [row for kind in sorted(kinds, key=lambda kind: kind.plural) for row in _rows(kind)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": rows}


def _rows(kind: Kind) -> Iterable[Object]:
    row: Object = {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(_VERBS),
    }
    yield {**row, "shortNames": list(kind.short_names)} if kind.short_names else row
    if kind.status:
        yield {
            **row,
            "name": f"{kind.plural}/status",
            "singularName": "",
            "verbs": ["get", "patch", "update"],
        }
