"""The proxy in front of the model server: nginx, told which models serve.

A request for a model that serves goes through; for one that is on its way it is answered 503 with
``Retry-After``, for one that is not wanted here 404. Loads and unloads are the agent's alone: the repository
extension is answered 403. nginx does what it is for (keep-alive, streaming, finishing requests while it
ends); the agent writes its configuration once and a file a model (``agent.route_files``), and never touches a
request.

https://nginx.org/en/docs/http/ngx_http_rewrite_module.html, https://nginx.org/en/docs/control.html
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from agent.background import in_front
from agent.certificate_name import certificate_name, is_address
from agent.errors import SettingsError
from agent.route_files import REST_WAITS, Rest, Route, RouteFiles
from agent.status import Snapshot

log = logging.getLogger(__name__)

RETRY_AFTER_S = 2
_CONFIG, _FORMER = "nginx.conf", "process-id"
_TEMPORARY = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
_TURN_S, _AGAIN_S, _FAULT_S = 0.5, 2.0, 5.0
_LOOK_S, _LOOKS = 0.05, 200

# A model's file is looked for twice: moved meanwhile to the other folder, it would else be in neither.
_TEMPLATE = """daemon off;
worker_processes 1;
worker_shutdown_timeout 1h;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
%(temporary)s  access_log off;
  server_tokens off;
  default_type application/json;
  map $uri $shardpack_model {
    "~^/v2/models/stats$" "";
    "~^/v[12]/models/(?<shardpack_name>[A-Za-z0-9._-]+)" $shardpack_name;
    default "";
  }
  upstream model_server {
    server %(host)s:%(port)s max_fails=0;
    keepalive 64;
    keepalive_timeout 5s;
  }
  server {
    listen %(listen)s:%(proxy_port)s;
    client_max_body_size 0;
    keepalive_requests 100000;
    location = /%(token)s { return 204; }
    location /v2/repository { return 403 '{"error":"models are loaded by the agent alone"}'; }
    location / {
%(tls)s      set $shardpack_route absent;
      if (-f %(rest_waits)s) { set $shardpack_route waits; }
      if (-f waits/$shardpack_model) { set $shardpack_route waits; }
      if (-f serves/$shardpack_model) { set $shardpack_route serves; }
      if (-f waits/$shardpack_model) { set $shardpack_route waits; }
      if ($shardpack_model = "") { set $shardpack_route serves; }
      if ($shardpack_route = waits) {
        add_header Retry-After %(retry_after_s)s always;
        return 503 '{"error":"the model is not loaded yet, or not any more"}';
      }
      if ($shardpack_route = absent) {
        return 404 '{"error":"the model is not on this shard; ask at its own address"}';
      }
      proxy_pass %(scheme)s://model_server;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_buffering off;
      # Requests stream: read whole first, all above some KiB would be written to the models' disk. The price:
      # where a server answers before it has read its request, nginx closes a connection that it has promised
      # to keep, and the client's next request there is lost. nginx's own 404 and 503 read the rest.
      proxy_request_buffering off;
      proxy_next_upstream off;
      proxy_connect_timeout 5s;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
      error_page 502 504 = @silent;
    }
    location @silent {
      internal;
      keepalive_timeout 0;
      add_header Retry-After %(retry_after_s)s always;
      return 503 '{"error":"the model server does not answer"}';
    }
  }
}
"""
"""nginx's configuration; `config_text` fills it in."""

# As the agent itself judges a server; nginx's own defaults judge nobody, and know one certificate between.
_TLS = """      proxy_ssl_verify on;
      proxy_ssl_verify_depth 100;
      proxy_ssl_protocols TLSv1.2 TLSv1.3;
      proxy_ssl_trusted_certificate "%(ca)s";
      proxy_ssl_name "%(name)s";
      proxy_ssl_server_name on;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """How the proxy runs.

    Parameters
    ----------
    address, port
        Where it listens.
    server_url
        Where requests go.
    folder
        For its configuration and temporary files.
    server_ca
        File of the certificates that an https server is judged by; None takes the system's.
    drain_s
        How long requests may take to finish when it ends.
    """

    address: str
    port: int
    server_url: str
    folder: Path
    server_ca: Path | None = None
    drain_s: int = 25

    @property
    def server_port(self) -> int:
        """Port of the server."""
        parts = urlsplit(self.server_url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def authorities(self) -> Path | None:
        """File of the certificates that the server is judged by; None where it has none.

        Raises
        ------
        SettingsError
            The system has no such file.
        """
        if urlsplit(self.server_url).scheme != "https":
            return None
        found = self.server_ca or ssl.get_default_verify_paths().cafile
        if found is None:
            raise SettingsError("--port: name the certificates that nginx judges the server by: --server-ca")
        return Path(found).absolute()


def routes(snapshot: Snapshot) -> dict[str, Route]:
    """Return what requests for each model meet; who is not named is not here. PURE.

    A server that is silent for a moment only may be busy: what it held last is still asked of it.
    """
    wanted = {name for name, target in snapshot.targets.items() if target.model.state == "resident"}
    found: dict[str, Route] = dict.fromkeys(wanted, "waits")
    if not snapshot.gone:
        found.update(
            (name, "serves")
            for name, seen in snapshot.models.items()
            if seen.ready and seen.unload_asked_at_s is None
        )
    return found


def rest(snapshot: Snapshot) -> Rest:
    """Return what requests for all other models meet: before the first document any may be wanted. PURE."""
    return "waits" if snapshot.desired is None else "absent"


def basis(snapshot: Snapshot) -> tuple[object, ...]:
    """Return all that routes follow from: comparing it takes a tenth of the time that they take. PURE."""
    return (rest(snapshot), snapshot.gone, snapshot.targets, snapshot.models)


def config_text(settings: ProxySettings, token: str, *, server_name: str | None = None) -> str:
    """Return nginx's configuration; paths in it are relative to the folder. PURE.

    Parameters
    ----------
    settings
        How it runs.
    token
        Under this path it answers 204: who asks knows that it is this one.
    server_name
        Whom the certificate of an https server has to name; None is the host of its URL.

    Raises
    ------
    SettingsError
        There are no certificates to judge the server by.
    """
    parts, port = urlsplit(settings.server_url), settings.server_port
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    listen = f"[{settings.address}]" if ":" in settings.address else settings.address
    ca = settings.authorities
    tls = "" if ca is None else _TLS % {"ca": _quoted(ca), "name": server_name or parts.hostname}
    temporary = "".join(f"  {name}_temp_path {name}_temp;\n" for name in _TEMPORARY)
    return _TEMPLATE % {
        "temporary": temporary,
        "rest_waits": REST_WAITS,
        "host": host,
        "port": port,
        "listen": listen,
        "proxy_port": settings.port,
        "token": token,
        "retry_after_s": RETRY_AFTER_S,
        "scheme": parts.scheme,
        "tls": tls,
    }


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


class Proxy:
    """nginx as a child of the agent.

    Parameters
    ----------
    settings
        How it runs.
    snapshot
        Tells of the agent.
    """

    def __init__(self, settings: ProxySettings, snapshot: Callable[[], Snapshot]) -> None:
        self._settings, self._snapshot = settings, snapshot
        self._token = f"shardpack-{secrets.token_hex(8)}"
        self._files = RouteFiles(settings.folder)
        self._basis: tuple[object, ...] | None = None
        self._judged_by: tuple[object, ...] = ()
        self._fault: str | None = None
        self._nginx: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._program = find_nginx()

    @property
    def fault(self) -> str | None:
        """What keeps it from new routes or certificates; None where nothing does."""
        return self._fault

    def start(self) -> None:
        """Write configuration and routes, start nginx and keep it told.

        Routes that cannot be written end nothing: an earlier agent's hold, else none.

        Raises
        ------
        SettingsError
            nginx does not accept it, or cannot listen there.
        """
        folder = self._settings.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _CONFIG).write_text(config_text(self._settings, self._token), encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"the proxy cannot run: {error}") from error
        self._put_routes()
        self._check()
        self._end_former()
        self._spawn()
        self._wait_for_port()
        self._thread.start()

    def stop(self) -> None:
        """Take no new connection, and return when the requests under way are answered."""
        self._ended.set()
        self._thread.join()
        if self._nginx is not None and self._nginx.poll() is None:
            self._nginx.send_signal(signal.SIGQUIT)
            try:
                self._nginx.wait(self._settings.drain_s)
            except subprocess.TimeoutExpired:
                self._kill()

    def _run(self) -> None:
        wait_s = _TURN_S
        while not self._ended.wait(wait_s):
            wait_s = _TURN_S
            try:
                if self._nginx is None or self._nginx.poll() is not None:
                    log.warning("the proxy has ended and is started again")
                    self._kill()
                    self._spawn()
                    wait_s = _AGAIN_S
                elif not (self._put_routes() and self._renew()):
                    wait_s = _FAULT_S
            except Exception:  # a full disk, or a fault of ours: the next turn tries again
                log.exception("the proxy could not be told")
                wait_s = _AGAIN_S

    def _put_routes(self) -> bool:
        """Write the routes if they may be others than before; return whether they hold."""
        snapshot = self._snapshot()
        found = basis(snapshot)
        if found != self._basis:
            self._basis = None  # whatever happens here, the next turn writes them again
            try:
                self._files.put(routes(snapshot), rest(snapshot))
            except OSError as error:
                self._say(f"routes cannot be written: {error}")
                return False
            self._basis = found
        return True

    def _renew(self) -> bool:
        """Have nginx judge the server anew where that may come to something else; return whether it does."""
        try:
            stamp = self._stamp()
            if stamp != self._judged_by and self._nginx is not None:
                text = config_text(self._settings, self._token, server_name=self._server_name())
                (self._settings.folder / _CONFIG).write_text(text, encoding="utf-8")
                self._check()  # a reload would say nothing
                self._nginx.send_signal(signal.SIGHUP)
                self._judged_by = stamp
        except (SettingsError, OSError) as error:
            self._say(f"the server cannot be judged by its certificate: {error}")
            return False
        self._say(None)
        return True

    def _stamp(self) -> tuple[object, ...]:
        """Return what changes when the certificates do by which a server is judged, or its own may have."""
        ca = self._settings.authorities
        if ca is None:
            return ()
        file = ca.stat()
        process = self._snapshot().server_since if is_address(self._host) else None
        return (file.st_ino, file.st_size, file.st_mtime_ns, process)

    def _server_name(self) -> str | None:
        """Return whom the server's certificate names where nginx cannot judge it by the host of its URL."""
        ca = self._settings.authorities
        if ca is None or not is_address(self._host) or self._snapshot().server_since is None:
            return None
        found = certificate_name(self._host, self._settings.server_port, ca)
        if found is None:
            raise SettingsError("it has no name, and nginx compares no addresses")
        return found

    @property
    def _host(self) -> str:
        return urlsplit(self._settings.server_url).hostname or ""

    def _check(self) -> None:
        """Raise if nginx has anything against its configuration."""
        done = subprocess.run(self._command("-t", "-q"), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            refusal = done.stderr.strip() or f"nginx ended with {done.returncode}"
            raise SettingsError(f"the proxy cannot run: {refusal}")

    def _say(self, fault: str | None) -> None:
        """Note what keeps the proxy from what is asked for now, and log it where it is news."""
        if fault is not None and self._fault is None:
            log.error("the proxy cannot follow: what was before holds", extra={"error": fault})
        if fault is None and self._fault is not None:
            log.info("the proxy follows again")
        self._fault = fault

    def _end_former(self) -> None:
        """Let the nginx of an agent that was killed go: it takes no new connection and ends by itself."""
        try:
            pid = int((self._settings.folder / _FORMER).read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if f"{self._settings.folder}/".encode() in command:
                os.kill(pid, signal.SIGQUIT)
        except (OSError, ValueError):
            return  # there is none

    def _wait_for_port(self) -> None:
        """Return when it listens; a port that is taken ends it within seconds."""
        for _ in range(_LOOKS):
            if self._nginx is not None and self._nginx.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(_LOOK_S)
        self._kill()
        raise SettingsError(f"the proxy cannot listen on {self._settings.address}:{self._settings.port}")

    def _answers(self) -> bool:
        """Return whether this nginx answers, and not one before it or somebody else."""
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.address, self._settings.address)  # noqa: S104
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{self._settings.port}/{self._token}"
        try:
            return urllib3.request("GET", url, retries=False, timeout=1.0).status == 204
        except urllib3.exceptions.HTTPError:
            return False

    def _kill(self) -> None:
        """End it with its workers, which go on without their master and keep the port."""
        if self._nginx is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._nginx.pid, signal.SIGKILL)
            self._nginx.wait()

    def _spawn(self) -> None:
        folder = self._settings.folder  # where it looks for the files of routes
        with in_front():
            self._nginx = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, start_new_session=True, cwd=folder
            )
        temporary = folder / f"{_FORMER}.new"
        temporary.write_text(str(self._nginx.pid), encoding="utf-8")
        temporary.rename(folder / _FORMER)

    def _command(self, *more: str) -> list[str]:
        return [self._program, "-p", f"{self._settings.folder}/", "-c", _CONFIG, "-e", "stderr", *more]


def find_nginx() -> str:
    """Return nginx's path.

    Raises
    ------
    SettingsError
        It is not installed.
    """
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise SettingsError("--port: the proxy is nginx, which is not installed (apt-get install nginx)")
    return found
