"""Requests, and what of the API their paths name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.api_server.kinds import Catalogue, Kind
from tests.support.api_server.refusals import RefusalError, bad_request, no_such_path

_SUBRESOURCES_OF_NAMESPACES = ("status", "finalize")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, as HTTP brought it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def is_set(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1")

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "application/json").partition(";")[0].strip().lower()

    @property
    def manager(self) -> str:
        """The field manager; by default the first word of the user agent."""
        agent = self.headers.get("user-agent", "unknown").partition("/")[0]
        return self.query.get("fieldManager") or agent

    @property
    def dry_run(self) -> bool:
        wanted = self.query.get("dryRun", "")
        if wanted not in ("", "All"):
            raise bad_request(f'invalid dry run value "{wanted}"')
        return wanted == "All"

    def content(self) -> Any:
        """The body as data."""
        if self.content_type == "application/vnd.kubernetes.protobuf":
            message = "the body of the request was in an unknown format - accepted: application/json"
            raise RefusalError(415, "UnsupportedMediaType", message)
        try:
            if self.content_type == "application/apply-patch+yaml" or "yaml" in self.content_type:
                return yaml.load(self.body, Loader=yaml.CSafeLoader)
            return json.loads(self.body)
        except (ValueError, yaml.YAMLError) as error:
            raise bad_request(f"the object provided is unrecognized: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a path names; ``name`` and ``subresource`` are empty for a collection and an object itself."""

    kind: Kind
    namespace: str
    name: str
    subresource: str


def target_of(path: str, catalogue: Catalogue) -> Target:
    """What a path under /api or /apis names.

    Raises
    ------
    RefusalError
        Nothing that there is.
    """
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in _SUBRESOURCES_OF_NAMESPACES:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource, *further = [*rest, "", "", ""][: max(len(rest), 3)]
    kind = catalogue.get(group, version, plural)
    wrong = kind is None or bool(further) or bool(namespace) != bool(kind.namespaced and namespace)
    if wrong or kind is None or (name and kind.namespaced and not namespace):
        raise no_such_path()
    if subresource and not (subresource == "status" and kind.status):
        raise no_such_path()
    return Target(kind=kind, namespace=namespace, name=name, subresource=subresource)


def method_not_allowed() -> RefusalError:
    message = "the server does not allow this method on the requested resource"
    return RefusalError(405, "MethodNotAllowed", message)
