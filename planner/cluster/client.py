"""Objects of a cluster, read and written as plain dicts."""

# ruff: noqa: PLR0913 - the options that the API has, by keyword

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from planner.cluster.objects import Object, is_object, key_of, version_of
from planner.cluster.requests import Method, Request, Transport
from planner.cluster.resources import OWN_ACCESS_REVIEWS, Resource
from planner.cluster.stream import Stream
from planner.errors import GoneError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FIELD_MANAGER = "shardpack"
"""Who changed a field, as ``managedFields`` says."""

PAGE = 500
"""Objects a page of a list, as client-go's pager asks for."""

Propagation = Literal["Background", "Foreground", "Orphan"]

_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a list found, and the version of the cluster at which it is true: where a watch goes on."""

    items: tuple[Object, ...]
    resource_version: str


class Kube:
    """A client of one API server. May be used by several threads at once.

    Every request has a time-out. One that the server asks to send later (429, or 503 with ``Retry-After``) is
    sent again by itself within that time; nothing else is repeated. Whatever the server refuses is one of the
    errors under ``planner.errors.ClusterError``.

    Parameters
    ----------
    api
        The official client's connection: address, credentials, TLS.
    namespace
        The namespace of the context, for those who have no other; no method assumes it.
    timeout_s
        The longest wait for a connection and for each piece of an answer, in seconds.
    manager
        The field manager of all writes.
    guard
        Called before every write and dry run; what it raises is raised instead of sending anything.
    on_warning
        Called with each warning that the server adds to an answer; None logs them.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        namespace: str = "default",
        timeout_s: float = 30.0,
        manager: str = FIELD_MANAGER,
        guard: Callable[[], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self.namespace = namespace
        self.manager = manager
        self._transport = Transport(api=api, timeout_s=timeout_s, guard=guard, on_warning=on_warning)
        self._kinds: dict[str, Mapping[str, Resource]] = {}
        self._lock = Lock()

    def adjusted(
        self,
        *,
        timeout_s: float | None = None,
        guard: Callable[[], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> Kube:
        """Return a client over the same connections with other settings; None leaves one as it is."""
        old = self._transport
        twin = Kube(old.api, namespace=self.namespace, manager=self.manager)
        twin._transport = replace(
            old,
            timeout_s=old.timeout_s if timeout_s is None else timeout_s,
            guard=guard or old.guard,
            on_warning=on_warning or old.on_warning,
        )
        return twin

    def close(self) -> None:
        """Close idle connections; the client opens new ones if it is used again."""
        self._transport.api.rest_client.close()

    # ------------------------------------------------------------------------------------------------ reading

    def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Object:
        """Return an object.

        Raises
        ------
        NotFoundError
            There is none of that name.
        """
        return _checked(self._send("GET", resource.path(namespace=namespace, name=name)), resource)

    def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        page: int = PAGE,
    ) -> Listing:
        """Return all objects of a kind, read in pages but all of one moment.

        Parameters
        ----------
        namespace
            None for all of them.
        labels, fields
            Selectors as kubectl's ``-l`` and ``--field-selector``; None for all objects.
        page
            The most objects an answer may hold. If pages expire while they are read, all is read in one.

        Raises
        ------
        NotFoundError
            The server does not know the kind.
        """
        query = {"labelSelector": labels, "fieldSelector": fields}
        path = resource.path(namespace=namespace)
        try:
            return self._pages(resource, path, {**query, "limit": str(page)})
        except GoneError:
            return self._pages(resource, path, query)

    def _pages(self, resource: Resource, path: str, query: Mapping[str, str | None]) -> Listing:
        items: list[Object] = []
        token: str | None = None
        while True:
            answer = self._send("GET", path, query={**query, "continue": token})
            found = answer.get("items") or []
            if not isinstance(answer.get("metadata"), dict) or not isinstance(found, list):
                raise UnavailableError(f"the server's answer is no list of {resource.full_name}")
            # Items of a list come without these two.
            named = {"apiVersion": resource.api_version, "kind": resource.kind}
            items.extend({**named, **_checked(item, resource)} for item in found)
            token = answer["metadata"].get("continue")
            if not token:
                return Listing(items=tuple(items), resource_version=version_of(answer))

    def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        timeout_s: int = 240,
    ) -> Stream:
        """Return the changes after a version, as a stream that ends after ``timeout_s`` at the latest.

        ``Watcher`` is what most want: it lists, watches, resumes and starts again.

        Raises
        ------
        GoneError
            The version is too old; it may also be raised by the stream.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
            "labelSelector": labels,
            "fieldSelector": fields,
        }
        request = Request(method="GET", path=resource.path(namespace=namespace), query=query)
        # The server ends it in time; what is longer is a server that has died without saying so.
        return Stream(self._transport.open(request, read_timeout_s=timeout_s + self._transport.timeout_s))

    # ------------------------------------------------------------------------------------------------ writing

    def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        """Create an object and return it as it is stored.

        Raises
        ------
        AlreadyExistsError
            One of that name exists.
        InvalidError
            It breaks the kind's schema.
        """
        path = resource.path(namespace=body["metadata"].get("namespace"))
        return _checked(self._write("POST", path, body, dry_run=dry_run), resource)

    def replace(
        self, resource: Resource, body: Object, *, subresource: str | None = None, dry_run: bool = False
    ) -> Object:
        """Put an object in the place of the one that was read.

        Parameters
        ----------
        body
            With the ``resourceVersion`` that was read.
        subresource
            ``status`` to replace the status alone; None for all but that.

        Raises
        ------
        ConflictError
            It was changed since it was read.
        """
        if not version_of(body):
            raise ValueError(f"{resource.full_name} {key_of(body)}: replacing what was never read")
        return _checked(
            self._write("PUT", _path_of(resource, body, subresource), body, dry_run=dry_run), resource
        )

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Object | Sequence[Object],
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Change a part of an object.

        Parameters
        ----------
        patch
            A dict is a merge patch (RFC 7396), a list a JSON patch (RFC 6902). A merge patch with
            ``metadata.resourceVersion`` is refused if the object has changed since.
        subresource
            ``status`` to change the status; None for anything else.

        Raises
        ------
        NotFoundError, ConflictError, InvalidError
            As their names say; a test of a JSON patch that fails is InvalidError.
        """
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        kind, body = (_MERGE, patch) if isinstance(patch, dict) else (_JSON_PATCH, list(patch))
        return _checked(self._write("PATCH", path, body, content_type=kind, dry_run=dry_run), resource)

    def apply(
        self,
        resource: Resource,
        body: Object,
        *,
        force: bool = False,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Apply an object server-side: its fields become ours and what we applied before and left out goes.

        Parameters
        ----------
        body
            The fields that are ours, and no others.
        force
            Take fields that another manager owns.

        Raises
        ------
        ConflictError
            Another manager owns a field that differs (``faults`` names them), and ``force`` is off.
        InvalidError
            A field that the kind does not have, or a bad value.
        """
        query = {"force": "true" if force else "false", "fieldValidation": "Strict"}
        path = _path_of(resource, body, subresource)
        return _checked(
            self._write("PATCH", path, body, content_type=_APPLY, query=query, dry_run=dry_run), resource
        )

    def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> None:
        """Ask for an object's deletion; it is gone when its finalizers are.

        Parameters
        ----------
        uid, resource_version
            Delete only this very object, or only while it is as it was read; None does not ask.
        propagation
            What becomes of the objects that it owns.

        Raises
        ------
        NotFoundError
            There is none of that name.
        ConflictError
            It is another one, or it has changed.
        """
        wanted = {"uid": uid, "resourceVersion": resource_version}
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        preconditions = {key: value for key, value in wanted.items() if value is not None}
        if preconditions:
            options["preconditions"] = preconditions
        if dry_run:  # a server that is sent options takes none from the query
            options["dryRun"] = ["All"]
        path = resource.path(namespace=namespace, name=name)
        self._answer(Request(method="DELETE", path=path, query={}, body=options))

    # ------------------------------------------------------------------------------------------ what there is

    def resource_of(self, api_version: str, kind: str) -> Resource:
        """Return where the server keeps objects of a kind; asked once for each API version.

        Raises
        ------
        NotFoundError
            The server does not know the kind.
        """
        with self._lock:
            known = self._kinds.get(api_version, {})
        if kind not in known:
            known = self._discovered(api_version)
            with self._lock:
                self._kinds[api_version] = known
        if kind not in known:
            raise NotFoundError(f'no matches for kind "{kind}" in version "{api_version}"', status=404)
        return known[kind]

    def _discovered(self, api_version: str) -> Mapping[str, Resource]:
        group, _, version = api_version.rpartition("/")
        try:
            answer = self._send("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")
        except NotFoundError:
            return {}
        try:
            return {
                item["kind"]: Resource(
                    group=group,
                    version=version,
                    plural=item["name"],
                    kind=item["kind"],
                    namespaced=item["namespaced"],
                )
                for item in answer["resources"]
                if "/" not in item["name"]
            }
        except (KeyError, TypeError) as error:
            raise UnavailableError(f"the server's answer is no list of the kinds of {api_version}") from error

    def may(self, verb: str, resource: Resource, *, namespace: str) -> bool:
        """Return whether this client's user may do something with all objects of a kind in a namespace.

        Whoever may log in may ask (Kubernetes' own role ``system:basic-user``).

        Parameters
        ----------
        verb
            As rules of roles have it: ``get``, ``delete``.
        resource, namespace
            With what, and where.
        """
        asked = {"namespace": namespace, "verb": verb, "group": resource.group, "resource": resource.plural}
        review = OWN_ACCESS_REVIEWS
        body = {
            "apiVersion": review.api_version,
            "kind": review.kind,
            "spec": {"resourceAttributes": asked},
        }
        try:
            return bool(self._write("POST", review.path(), body, dry_run=False)["status"]["allowed"])
        except (KeyError, TypeError) as error:
            raise UnavailableError("the server's answer is no review of access") from error

    def server_version(self) -> str:
        """Return the version of the API server, as ``v1.36.0``."""
        try:
            return str(self._send("GET", "/version")["gitVersion"])
        except KeyError as error:
            raise UnavailableError("the server's answer is no version") from error

    # ---------------------------------------------------------------------------------------------- requests

    def _send(self, method: Method, path: str, *, query: Mapping[str, str | None] | None = None) -> Object:
        return self._answer(Request(method=method, path=path, query=query or {}))

    def _write(
        self,
        method: Method,
        path: str,
        body: Any,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
        dry_run: bool,
    ) -> Object:
        further = {**(query or {}), "fieldManager": self.manager}
        if dry_run:
            further["dryRun"] = "All"
        request = Request(method=method, path=path, query=further, body=body, content_type=content_type)
        return self._answer(request)

    def _answer(self, request: Request) -> Object:
        """Return the object of an answer; what is to be sent later is sent later, while there is time."""
        deadline = time.monotonic() + self._transport.timeout_s
        while True:
            try:
                found = json.loads(self._transport.send(request))
            except UnavailableError as error:
                wait_s = error.retry_after_s
                if wait_s is None or time.monotonic() + wait_s >= deadline:
                    raise
                time.sleep(wait_s)
                continue
            except (ValueError, RecursionError) as error:
                raise UnavailableError(f"the server's answer is not JSON: {error}") from error
            if not isinstance(found, dict):
                raise UnavailableError("the server's answer is no object of the API")
            return found


def _path_of(resource: Resource, body: Object, subresource: str | None) -> str:
    key = key_of(body)
    return resource.path(namespace=key.namespace or None, name=key.name, subresource=subresource)


def _checked(item: Any, resource: Resource) -> Object:
    """Return an object of an answer; whoever answers without names is no API server."""
    if not is_object(item):
        raise UnavailableError(f"the server's answer is no object of {resource.full_name}: it has no name")
    found: Object = item
    return found
