"""Validating admission webhooks: called as a real API server calls them, over HTTPS by their ``caBundle``.

Rules, namespace and object selectors, ``failurePolicy``, ``timeoutSeconds``, dry runs and warnings count.
Not done: match conditions and ``matchPolicy``, deletions, ``userInfo``, several webhooks at a time. A service
is looked up in ``services``, as there is no network of pods; its certificate has to be for
``<service>.<namespace>.svc`` all the same. They are called under the storage's lock: nothing else is written
meanwhile.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from tests.support.api_server.refusals import Object, RefusalError, bad_request
from tests.support.api_server.selectors import matches_selector
from tests.support.api_server.storage import Storage
from tests.support.api_server.targets import Request, Target

_CONFIGURATIONS = ("admissionregistration.k8s.io", "validatingwebhookconfigurations")
_VERSION = "admission.k8s.io/v1"


class WebhookError(Exception):
    """A webhook gave no answer, or none that counts."""


class Webhooks:
    """The webhooks whose configurations are stored.

    ``services`` says where the pods of a service are: (namespace, name) to a port of 127.0.0.1.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.services: dict[tuple[str, str], int] = {}
        self.failures: list[str] = []
        """Why webhooks were passed over."""

    def admit(self, target: Target, request: Request, item: Object, before: Object | None) -> tuple[str, ...]:
        """Ask every webhook whose rules match; return their warnings.

        Raises
        ------
        RefusalError
            One of them refuses, or does not answer and must.
        """
        operation = "CREATE" if before is None else "UPDATE"
        warnings: list[str] = []
        for hook in self._matching(target, operation, item, before):
            self._check_side_effects(hook, request)
            review = _review(target, request, operation, item, before)
            try:
                response = self._call(hook, review)
            except (WebhookError, OSError, ValueError, http.client.HTTPException) as error:
                self.failures.append(f"{hook['name']}: {error}")
                if hook.get("failurePolicy", "Fail") == "Fail":
                    text = f'failed calling webhook "{hook["name"]}": {error}'
                    raise RefusalError(500, "InternalError", f"Internal error occurred: {text}") from error
                continue
            warnings += response.get("warnings") or []
            if not response["allowed"]:
                raise _denied(hook["name"], response.get("status") or {})
        return tuple(warnings)

    def _matching(
        self, target: Target, operation: str, item: Object, before: Object | None
    ) -> Iterator[Object]:
        for entry in self._storage.table(_CONFIGURATIONS).entries.copy().values():
            for hook in entry.object.get("webhooks") or ():
                ruled = any(_is_for(rule, target, operation) for rule in hook.get("rules") or ())
                if ruled and self._selects(hook, target, item, before):
                    yield hook

    @staticmethod
    def _check_side_effects(hook: Object, request: Request) -> None:
        if request.dry_run and hook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise bad_request(f'admission webhook "{hook["name"]}" does not support dry run')

    def _selects(self, hook: Object, target: Target, item: Object, before: Object | None) -> bool:
        objects = [one["metadata"].get("labels") or {} for one in (item, before) if one is not None]
        wanted = hook.get("objectSelector") or {}
        if not any(matches_selector(wanted, labels) for labels in objects):
            return False
        if not target.namespace:
            return True
        namespace = self._storage.get(("", "namespaces"), ("", target.namespace))
        labels = namespace.object["metadata"].get("labels") or {} if namespace else {}
        return matches_selector(hook.get("namespaceSelector") or {}, labels)

    def _call(self, hook: Object, review: Object) -> Mapping[str, Any]:
        client, seconds = hook["clientConfig"], hook.get("timeoutSeconds", 10)
        context = ssl.create_default_context(cadata=base64.b64decode(client.get("caBundle", "")).decode())
        host, port, path = self._address(client)
        name = client.get("url") and urlsplit(client["url"]).hostname
        connection = _Connection(host, port, seconds, context=context, server_name=name or _name_of(client))
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"{path}?timeout={seconds}s", json.dumps(review), headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise WebhookError(f"status {answer.status}: {body[:200].decode(errors='replace')}")
        return _response(json.loads(body), review["request"]["uid"])

    def _address(self, client: Object) -> tuple[str, int, str]:
        if client.get("url"):
            url = urlsplit(client["url"])
            return url.hostname or "", url.port or 443, url.path
        service = client["service"]
        port = self.services.get((service["namespace"], service["name"]))
        if port is None:
            raise WebhookError(f'service "{service["name"]}" not found')
        return "127.0.0.1", port, service.get("path", "/")


class _Connection(http.client.HTTPConnection):
    """HTTPS to an address, verified against another name."""

    def __init__(
        self, host: str, port: int, seconds: float, *, context: ssl.SSLContext, server_name: str
    ) -> None:
        super().__init__(host, port, timeout=seconds)
        self._context, self._server_name = context, server_name

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._server_name)


def _name_of(client: Object) -> str:
    service = client["service"]
    return f"{service['name']}.{service['namespace']}.svc"


def _is_for(rule: Object, target: Target, operation: str) -> bool:
    kind = target.kind
    resource = f"{kind.plural}/{target.subresource}" if target.subresource else kind.plural
    scope = rule.get("scope", "*")
    return (
        bool({operation, "*"} & set(rule["operations"]))
        and bool({kind.group, "*"} & set(rule["apiGroups"]))
        and bool({kind.version, "*"} & set(rule["apiVersions"]))
        and bool({resource, "*/*", *(() if target.subresource else ("*",))} & set(rule["resources"]))
        and scope in ("*", "Namespaced" if kind.namespaced else "Cluster")
    )


def _review(target: Target, request: Request, operation: str, item: Object, before: Object | None) -> Object:
    kind = target.kind
    about = {"group": kind.group, "version": kind.version}
    asked = {
        "uid": str(uuid.uuid4()),
        "kind": {**about, "kind": kind.kind},
        "resource": {**about, "resource": kind.plural},
        **({"subResource": target.subresource} if target.subresource else {}),
        "name": item["metadata"]["name"],
        "namespace": target.namespace,
        "operation": operation,
        "object": item,
        "oldObject": before,
        "dryRun": bool(request.dry_run),
    }
    return {"apiVersion": _VERSION, "kind": "AdmissionReview", "request": asked}


def _response(answer: Any, uid: str) -> Mapping[str, Any]:
    """The response of an answer, as strict about it as a real server."""
    if not isinstance(answer, dict) or (answer.get("apiVersion"), answer.get("kind")) != (
        _VERSION,
        "AdmissionReview",
    ):
        raise WebhookError(f"expected webhook response of {_VERSION}, Kind=AdmissionReview")
    response = answer.get("response")
    if not isinstance(response, dict) or not isinstance(response.get("allowed"), bool):
        raise WebhookError("webhook response was absent")
    if response.get("uid") != uid:
        raise WebhookError(f"expected response.uid={uid!r}, got {response.get('uid')!r}")
    return response


def _denied(name: str, status: Object) -> RefusalError:
    why = status.get("message") or status.get("reason")
    text = f'admission webhook "{name}" denied the request' + (f": {why}" if why else " without explanation")
    return RefusalError(max(400, status.get("code", 0)), status.get("reason", ""), text)
