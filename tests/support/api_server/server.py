"""A small Kubernetes API server for tests: real HTTP, objects in memory.

What it does as a real one: discovery; create, get, list with pages of one snapshot, replace, merge, JSON and
strategic merge patches, server-side apply with managers and conflicts, delete with preconditions, finalizers,
owners and namespaces that end with all that is in them; versions, conflicts, generations, uids, status
subresources, selectors; watches that resume, with bookmarks and a history that can be too old (410); schemas
(Kubernetes' own and those of custom resource definitions, with pruning and defaults), names, sizes; RBAC by
stored roles; validating webhooks by stored configurations. kubectl gets along with it.

What it does not do
-------------------
No mutating webhooks and no webhooks for deletions, no conversion between versions of a kind (each is stored
as it came), no CEL rules, no defaults of Kubernetes' own kinds beyond what their published schemas say (a
Service gets no clusterIP, a Deployment no strategy), few of their semantic checks, no tables for kubectl, no
OpenAPI but what tells kubectl that the server validates fields, access reviews of one's own only, no scale,
no protobuf, no watch lists (``sendInitialEvents``), no lists of an older ``resourceVersion``: all are of now.
core/v1 and events.k8s.io/v1 Events are apart. Nothing runs: pods stay Pending, a deleted one is gone at once,
no controllers but the collection of garbage and of namespaces, within the request that causes it.
A service account has no token but those that tests ask for.
"""

from __future__ import annotations

import json
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import yaml

from tests.support.api_server.access import Access, User, deed_of
from tests.support.api_server.cleanup import Cleanup
from tests.support.api_server.discovery import discovered
from tests.support.api_server.kinds import Catalogue
from tests.support.api_server.reading import Reading
from tests.support.api_server.refusals import Object, RefusalError, too_large
from tests.support.api_server.storage import Storage
from tests.support.api_server.targets import Request, Target, method_not_allowed, target_of
from tests.support.api_server.troubles import HungUpError, Troubles
from tests.support.api_server.webhooks import Webhooks
from tests.support.api_server.writing import Writing, Written

MAX_REQUEST_BYTES = 3 * 1024 * 1024
_OWN_ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_HEALTHY = ("/healthz", "/livez", "/readyz")


class ApiServer:
    """The server; a context manager that starts and stops it.

    Parameters
    ----------
    definitions
        A folder of custom resource definitions beside the server's own narrow ones, which they replace.
    history
        Happenings of a kind that a watch can resume from.
    bookmark_s
        How often a quiet watch says where it is.
    open_door
        Whether requests without a token may do everything.
    """

    def __init__(
        self,
        *,
        definitions: Path | None = None,
        history: int = 100_000,
        bookmark_s: float = 60.0,
        open_door: bool = True,
    ) -> None:
        self.storage = Storage(history=history)
        self.catalogue = Catalogue(definitions)
        self.access = Access(self.storage, open_door=open_door)
        self.troubles = Troubles()
        self.cleanup = Cleanup(self.storage)
        self.webhooks = Webhooks(self.storage)
        self.writing = Writing(self.storage, self.catalogue, self.cleanup, self.webhooks)
        self.reading = Reading(self.storage, bookmark_s=bookmark_s)
        self.mistakes: list[str] = []
        """Tracebacks of the server's own; a fixture fails its test for them."""
        self._http: _Http | None = None
        self._port = 0
        self._epoch = 0
        for name in ("default", "kube-system"):
            self._make_namespace(name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._http = _Http(self, self._port)
        self._port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), name="api", daemon=True).start()

    def stop(self) -> None:
        """Close everything that is open and refuse connections; objects stay."""
        assert self._http is not None
        self.end_watches()
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        self._http = None

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections while the body runs."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def epoch(self) -> int:
        """A number that changes when all watches are to end."""
        return self._epoch

    def end_watches(self) -> None:
        """Let every open watch end, as a server does that is restarted."""
        with self.storage.lock:
            self._epoch += 1
            self.storage.wake_all()

    def token(self, user: User) -> str:
        """A bearer token of a user."""
        token = uuid4().hex
        self.access.admit(token, user)
        return token

    def kubeconfig(self, folder: Path, *, user: User | None = None, namespace: str = "default") -> Path:
        """Write a kubeconfig for a user, or for one who may do everything; return its path."""
        token = None if user is None else self.token(user)
        return kubeconfig(folder, url=self.url, user=user, token=token, namespace=namespace)

    def _make_namespace(self, name: str) -> None:
        body = json.dumps({"metadata": {"name": name}}).encode()
        request = Request(method="POST", path="/api/v1/namespaces", query={}, headers={}, body=body)
        self.writing.create(target_of(request.path, self.catalogue), request)


def kubeconfig(folder: Path, *, url: str, user: User | None, token: str | None, namespace: str) -> Path:
    """Write a kubeconfig into a folder; return its path."""
    name = user.name.replace(":", "-") if user is not None else "admin"
    context = {"cluster": "test", "user": name, "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": name, "user": {"token": token} if token else {}}],
        "contexts": [{"name": "test", "context": context}],
    }
    path = folder / f"kubeconfig-{name}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, api: ApiServer, port: int) -> None:
        self.api = api
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        with self._guard:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are what tests do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server: _Http

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names are http.server's

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing."""

    def _answer(self) -> None:
        try:
            request = self._request()
            self._serve(request)
        except RefusalError as refusal:
            self._refuse(refusal)
        except HungUpError:
            self._hang_up()
        except ConnectionError:
            self.close_connection = True
        except Exception:  # noqa: BLE001 - a mistake of this server, which its tests have to see
            self.server.api.mistakes.append(traceback.format_exc())
            self._refuse(RefusalError(500, "InternalError", traceback.format_exc()))

    def _request(self) -> Request:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_REQUEST_BYTES:
            self.close_connection = True
            raise too_large(MAX_REQUEST_BYTES)
        return Request(
            method=self.command,
            path=url.path,
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers={key.lower(): value for key, value in self.headers.items()},
            body=self.rfile.read(length),
        )

    def _serve(self, request: Request) -> None:
        api = self.server.api
        if request.path in _HEALTHY:
            self._send(200, b"ok", content_type="text/plain")
            return
        api.access.user_of(request)
        found = discovered(request.path, api.catalogue) if request.method == "GET" else None
        if found is not None:
            self._send(200, json.dumps(found).encode())
            return
        if request.method == "POST" and request.path == _OWN_ACCESS:
            self._send(201, json.dumps(api.access.reviewed(request)).encode())
            return
        target = target_of(request.path, api.catalogue)
        if request.method != "GET" and (request.method == "POST") == bool(target.name):
            raise method_not_allowed()
        deed = deed_of(request, target)
        api.access.check(request, target)
        lost = api.troubles.meet(deed)
        if request.method == "GET":
            self._read(request, target)
        elif request.method == "DELETE":
            self._delete(request, target, lost=lost)
        else:
            self._write(request, target, lost=lost)

    # ------------------------------------------------------------------------------------------------ reading

    def _read(self, request: Request, target: Target) -> None:
        api = self.server.api
        if request.is_set("watch"):
            self._watch(request, target)
        elif target.name:
            self._send(200, api.reading.get(target).text)
        else:
            self._send(200, api.reading.list(target, request).text)

    def _watch(self, request: Request, target: Target) -> None:
        api = self.server.api
        epoch = api.epoch
        lines = api.reading.watch(target, request, ended=lambda: api.epoch != epoch)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        try:
            for text in lines:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    # ------------------------------------------------------------------------------------------------ writing

    def _write(self, request: Request, target: Target, *, lost: bool) -> None:
        api = self.server.api
        verbs = {"POST": api.writing.create, "PUT": api.writing.replace, "PATCH": api.writing.patch}
        written: Written = verbs[request.method](target, request)
        if written.stored:
            self._note(request, target, name=written.item["metadata"]["name"])
        if lost:
            raise HungUpError
        text = json.dumps(written.item, separators=(",", ":")).encode()
        self._send(201 if written.created else 200, text, warnings=written.warnings)

    def _note(self, request: Request, target: Target, *, name: str) -> None:
        """Count a write for its user."""
        user = self.server.api.access.user_of(request).name
        self.server.api.troubles.wrote(replace(deed_of(request, target), name=name, user=user))

    def _delete(self, request: Request, target: Target, *, lost: bool) -> None:
        api = self.server.api
        options = request.content() if request.body else {}
        # Options of the query count only where there are none in the body, as on a real server.
        dry_run = bool(options.get("dryRun")) if request.body else request.dry_run
        options = {**options, "dryRun": dry_run}
        item, gone = api.cleanup.delete(target.kind, (target.namespace, target.name), options)
        if not dry_run:
            self._note(request, target, name=target.name)
            if gone and target.kind.plural == "customresourcedefinitions":
                api.catalogue.forget(item)
        if lost:
            raise HungUpError
        self._send(200, json.dumps(_deleted(target, item) if gone else item).encode())

    # ------------------------------------------------------------------------------------------------ answers

    def _send(
        self,
        code: int,
        text: bytes,
        *,
        content_type: str = "application/json",
        warnings: tuple[str, ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        for warning in warnings:
            quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
            self.send_header("Warning", f'299 - "{quoted}"')
        if retry_after_s is not None:
            self.send_header("Retry-After", str(retry_after_s))
        self.end_headers()
        self.wfile.write(text)

    def _refuse(self, refusal: RefusalError) -> None:
        text = json.dumps(refusal.status()).encode()
        self._send(refusal.code, text, retry_after_s=refusal.retry_after_s)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _deleted(target: Target, item: Object) -> Object:
    details = {
        "name": target.name,
        "group": target.kind.group,
        "kind": target.kind.plural,
        "uid": item["metadata"]["uid"],
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }
