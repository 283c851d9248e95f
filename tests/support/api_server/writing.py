"""Creating, replacing, patching and applying objects."""

from __future__ import annotations

import copy
import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.api_server.cleanup import Cleanup
from tests.support.api_server.judging import further_causes
from tests.support.api_server.kinds import Catalogue, Kind
from tests.support.api_server.ownership import Fields, Writer
from tests.support.api_server.patches import merged, patched
from tests.support.api_server.refusals import (
    MODIFIED,
    Cause,
    Object,
    RefusalError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    too_large,
)
from tests.support.api_server.storage import Entry, Storage
from tests.support.api_server.strategic import strategically_merged
from tests.support.api_server.targets import Request, Target
from tests.support.api_server.webhooks import Webhooks

MAX_OBJECT_BYTES = 1536 * 1024
"""What etcd takes (its default)."""

_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_APPLY = "application/apply-patch+yaml"

_KEPT = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "generateName",
    "managedFields",
)
"""Metadata that no client changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came of a write: the object, whether it is new, whether anything was stored, warnings."""

    item: Object
    created: bool = False
    stored: bool = True
    warnings: tuple[str, ...] = ()


class Writing:
    """All writes but deletions; each happens whole under the storage's lock."""

    def __init__(self, storage: Storage, catalogue: Catalogue, cleanup: Cleanup, webhooks: Webhooks) -> None:
        self._storage = storage
        self._catalogue = catalogue
        self._cleanup = cleanup
        self._webhooks = webhooks

    # -------------------------------------------------------------------------------------------------- verbs

    def create(self, target: Target, request: Request) -> Written:
        item = self._received(target, request)
        metadata = item["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{secrets.token_hex(3)[:5]}"
        if not metadata.get("name"):
            cause = Cause(
                reason="FieldValueRequired",
                field="metadata.name",
                message="Required value: name or generateName is required",
            )
            raise invalid(target.kind.group, target.kind.kind, "", [cause])
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        with self._storage.lock:
            self._refuse_existing(target, metadata["name"])
            return self._create(target, item, request, writer=_writer(request, target))

    def replace(self, target: Target, request: Request) -> Written:
        item = self._received(target, request)
        name = item["metadata"].get("name")
        if name != target.name:
            raise bad_request(
                f"the name of the object ({name}) does not match the name on the URL ({target.name})"
            )
        with self._storage.lock:
            before = self._existing(target)
            if target.kind.custom and not item["metadata"].get("resourceVersion"):
                cause = Cause(
                    reason="FieldValueInvalid",
                    field="metadata.resourceVersion",
                    message="Invalid value: 0: must be specified for an update",
                )
                raise invalid(target.kind.group, target.kind.kind, target.name, [cause])
            return self._update(target, before, item, request)

    def patch(self, target: Target, request: Request) -> Written:
        change = request.content()
        if request.content_type == _APPLY:
            return self._apply(target, change, request)
        change_of = _change_of(target.kind, request.content_type)
        with self._storage.lock:
            before = self._existing(target)
            item = change_of(before.copy(), change)
            if not isinstance(item, dict) or item.get("metadata", {}).get("name") != target.name:
                raise bad_request("metadata.name cannot be changed by a patch")
            return self._update(target, before, item, request)

    def _apply(self, target: Target, applied: Any, request: Request) -> Written:
        if not isinstance(applied, dict) or not request.query.get("fieldManager"):
            raise bad_request("PatchOptions.meta.k8s.io is invalid: fieldManager: Required value")
        self._check_type(target, applied)
        metadata = applied.setdefault("metadata", {})
        if metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        if metadata.setdefault("name", target.name) != target.name:
            raise bad_request(f"metadata.name does not match the name on the URL ({target.name})")
        self._check_namespace(target, metadata)
        self._refuse_unknown(target.kind, applied, request)
        writer = Writer(manager=request.manager, operation="Apply", subresource=target.subresource)
        with self._storage.lock:
            entry = self._storage.get(target.kind.table, (target.namespace, target.name))
            before = entry.object if entry else None
            if before is None and (target.subresource or metadata.get("uid")):
                raise not_found(target.kind.group, target.kind.plural, target.name)
            self._refuse_other(target, before, metadata)
            part = self._part(target, applied)
            item = _fields_of(target.kind).applied(before, part, writer, force=request.is_set("force"))
            if before is None:
                return self._create(target, item, request, writer=None)
            return self._finish(target, before, item, request)

    @staticmethod
    def _part(target: Target, applied: Object) -> Object:
        """What of an applied object counts: not its status, or nothing but that."""
        if target.subresource:
            metadata = {
                key: applied["metadata"][key] for key in ("name", "namespace") if key in applied["metadata"]
            }
            return {
                **{key: applied[key] for key in ("apiVersion", "kind", "status") if key in applied},
                "metadata": metadata,
            }
        return {key: value for key, value in applied.items() if key != "status" or not target.kind.status}

    # -------------------------------------------------------------------------------------- what was received

    def _received(self, target: Target, request: Request) -> Object:
        item = request.content()
        if not isinstance(item, dict):
            raise bad_request("the object provided is unrecognized (must be of type Object)")
        self._check_type(target, item)
        if not isinstance(item.setdefault("metadata", {}), dict):
            raise bad_request("metadata must be an object")
        self._check_namespace(target, item["metadata"])
        return item

    @staticmethod
    def _check_type(target: Target, item: Object) -> None:
        kind = target.kind
        if kind.custom and not item.get("kind"):
            raise bad_request("Object 'Kind' is missing")
        api_version = item.setdefault("apiVersion", kind.api_version)
        if api_version != kind.api_version or item.setdefault("kind", kind.kind) != kind.kind:
            raise bad_request(
                f"the API version in the data ({api_version}) does not match the expected API version "
                f"({kind.api_version})"
                if api_version != kind.api_version
                else f"the kind in the data ({item['kind']}) does not match the expected kind ({kind.kind})"
            )

    @staticmethod
    def _check_namespace(target: Target, metadata: Object) -> None:
        if target.namespace:
            if metadata.setdefault("namespace", target.namespace) != target.namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
        elif metadata.get("namespace"):
            raise bad_request("namespace is not allowed on this type")

    def _refuse_unknown(self, kind: Kind, applied: Object, request: Request) -> None:
        """An apply of a field that the schema does not know fails, as its type cannot be told."""
        dropped = kind.schema.prune(copy.deepcopy(applied))
        if dropped:
            name = f"{applied['metadata'].get('namespace', '')}/{applied['metadata']['name']}"
            raise RefusalError(
                500,
                "InternalError",
                f"failed to create typed patch object ({name}; {kind.api_version}, Kind={kind.kind}): "
                f".{dropped[0]}: field not declared in schema",
            )

    # ------------------------------------------------------------------------------------------------ storing

    def _create(self, target: Target, item: Object, request: Request, *, writer: Writer | None) -> Written:
        kind = target.kind
        self._cleanup.check_namespace(target.namespace, item, kind)
        if kind.status:
            item.pop("status", None)
        warnings = self._normalise(kind, item, request)
        metadata = item["metadata"]
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
            metadata.pop(key, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if kind.generation:
            metadata["generation"] = 1
        _begin_life(kind, item)
        self._refuse_faulty(kind, item)
        warnings = (*warnings, *self._webhooks.admit(target, request, item, None))
        if writer is not None:
            _fields_of(kind).updated(None, item, writer)
        if request.dry_run:
            return Written(item=item, created=True, stored=False, warnings=warnings)
        stored = self._storage.put(kind.table, (target.namespace, metadata["name"]), item).object
        if kind.plural == "customresourcedefinitions":
            self._catalogue.define(stored)
        return Written(item=stored, created=True, warnings=warnings)

    def _update(self, target: Target, entry: Entry, item: Object, request: Request) -> Written:
        before = entry.object
        self._refuse_other(target, before, item["metadata"])
        kind = target.kind
        if target.subresource:
            fresh = entry.copy()
            if "status" in item:
                fresh["status"] = item["status"]
            else:
                fresh.pop("status", None)
            item = fresh
        else:
            if kind.status:
                item.pop("status", None)
                if "status" in before:
                    item["status"] = before["status"]
            _keep_metadata(before, item)
        warnings = self._normalise(kind, item, request)
        _fields_of(kind).updated(before, item, _writer(request, target))
        return self._finish(target, before, item, request, warnings=warnings)

    def _finish(
        self,
        target: Target,
        before: Object,
        item: Object,
        request: Request,
        *,
        warnings: tuple[str, ...] = (),
    ) -> Written:
        """Store what an object became, unless it became nothing else."""
        kind = target.kind
        item["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
        self._refuse_faulty(kind, item)
        warnings = (*warnings, *self._webhooks.admit(target, request, item, before))
        if _same(before, item):
            return Written(item=before, stored=False, warnings=warnings)
        if kind.generation and not target.subresource and _spec(before) != _spec(item):
            item["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
        if request.dry_run:
            return Written(item=item, stored=False, warnings=warnings)
        place = (target.namespace, target.name)
        if item["metadata"].get("deletionTimestamp") and not item["metadata"].get("finalizers"):
            return Written(item=self._cleanup.finish(kind.table, place, item), warnings=warnings)
        stored = self._storage.put(kind.table, place, item).object
        if kind.plural == "customresourcedefinitions":
            self._catalogue.define(stored)
        return Written(item=stored, warnings=warnings)

    def _normalise(self, kind: Kind, item: Object, request: Request) -> tuple[str, ...]:
        """Drop what is empty or the schema does not know, fill in its defaults; return warnings of it."""
        item["metadata"] = {key: value for key, value in item["metadata"].items() if value not in _EMPTY}
        dropped = [f'unknown field "{path}"' for path in kind.schema.prune(item)]
        validation = request.query.get("fieldValidation", "Warn")
        if dropped and validation == "Strict":
            raise bad_request(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
                f"strict decoding error: {', '.join(dropped)}"
            )
        kind.schema.fill(item)
        return tuple(dropped) if validation == "Warn" else ()

    def _refuse_faulty(self, kind: Kind, item: Object) -> None:
        causes = [*kind.schema.causes(item), *further_causes(kind, item)]
        if causes:
            raise invalid(kind.group, kind.kind, item["metadata"]["name"], causes)
        if len(json.dumps(item)) > MAX_OBJECT_BYTES:
            raise too_large(MAX_OBJECT_BYTES)

    def _refuse_existing(self, target: Target, name: str) -> None:
        if self._storage.get(target.kind.table, (target.namespace, name)) is not None:
            raise already_exists(target.kind.group, target.kind.plural, name)

    def _refuse_other(self, target: Target, before: Object | None, metadata: Object) -> None:
        """Refuse a write that was meant for another version or another object of the name."""
        if before is None:
            return
        group, plural, name = target.kind.group, target.kind.plural, target.name
        version, uid = metadata.get("resourceVersion"), metadata.get("uid")
        known = before["metadata"]
        if uid and uid != known["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {known['uid']}"
            raise conflict(group, plural, name, why)
        if version and version != known["resourceVersion"]:
            raise conflict(group, plural, name, MODIFIED)

    def _existing(self, target: Target) -> Entry:
        entry = self._storage.get(target.kind.table, (target.namespace, target.name))
        if entry is None:
            raise not_found(target.kind.group, target.kind.plural, target.name)
        return entry


_EMPTY: tuple[object, ...] = ({}, [], "", None)
"""What is not kept of metadata: in a real server these fields are no pointers, and left out when empty."""


def _change_of(kind: Kind, content_type: str) -> Callable[[Any, Any], Any]:
    """What turns an object and a patch into the object after it."""
    if content_type == _STRATEGIC and not kind.custom:
        schema = kind.schema
        return lambda value, patch: strategically_merged(value, patch, schema, schema.root)
    if content_type not in (_MERGE, _JSON_PATCH):
        raise RefusalError(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            f"{_JSON_PATCH}, {_MERGE}, {_APPLY}",
        )
    return merged if content_type == _MERGE else patched


def _fields_of(kind: Kind) -> Fields:
    return Fields(kind.schema, kind.api_version)


def _writer(request: Request, target: Target) -> Writer:
    return Writer(manager=request.manager, operation="Update", subresource=target.subresource)


def _keep_metadata(before: Object, item: Object) -> None:
    """Put back what no client changes."""
    metadata, known = item["metadata"], before["metadata"]
    for key in _KEPT:
        metadata.pop(key, None)
        if key in known:
            metadata[key] = known[key]
    metadata["name"] = known["name"]


def _spec(item: Object) -> Object:
    """What a generation counts the versions of."""
    return {key: value for key, value in item.items() if key not in ("metadata", "status")}


def _same(before: Object, item: Object) -> bool:
    """Whether nothing but who owns what would be stored; times of managers do not count."""
    if before == item:
        return True
    return _bare(before) == _bare(item) and _owned(before) == _owned(item)


def _bare(item: Object) -> Object:
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields" and value}
    return {**item, "metadata": metadata}


def _owned(item: Object) -> list[Object]:
    entries = item["metadata"].get("managedFields") or []
    return [{key: value for key, value in entry.items() if key != "time"} for entry in entries]


def _begin_life(kind: Kind, item: Object) -> None:
    """What the API server itself writes into new objects of some kinds."""
    if kind.table == ("", "namespaces"):
        item.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        item["status"] = {"phase": "Active"}
        labels = item["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = item["metadata"]["name"]
    elif kind.table == ("", "nodes"):
        taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
        item.setdefault("spec", {}).setdefault("taints", []).append(taint)
    elif kind.table == ("", "pods"):
        item["status"] = {"phase": "Pending"}
    elif kind.plural == "customresourcedefinitions":
        item["status"] = {
            "acceptedNames": item["spec"]["names"],
            "storedVersions": [version["name"] for version in item["spec"]["versions"] if version["storage"]],
            "conditions": [
                {
                    "type": word,
                    "status": "True",
                    "reason": "InitialNamesAccepted" if word == "Established" else "NoConflicts",
                    "message": "",
                    "lastTransitionTime": item["metadata"]["creationTimestamp"],
                }
                for word in ("NamesAccepted", "Established")
            ],
        }
