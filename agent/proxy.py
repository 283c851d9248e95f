"""The proxy in front of the model server: nginx, told which models serve.

A request for a model that serves goes through; for one that is on its way it is answered 503 with
``Retry-After``, for one that is not wanted here 404. Loads and unloads are the agent's alone: the repository
extension is answered 403. nginx does what it is for (keep-alive, streaming, finishing requests while it
reloads or ends); the agent writes its configuration and never touches a request.

https://nginx.org/en/docs/http/ngx_http_map_module.html, https://nginx.org/en/docs/control.html
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import urllib3

from agent.errors import SettingsError
from agent.nginx_map import map_lines
from agent.observed import NOTHING
from agent.status import Snapshot

log = logging.getLogger(__name__)

Route = Literal["serves", "waits"]

RETRY_AFTER_S = 2
_ALL_WAIT = "default waits;\n"
_CONFIG, _ROUTES, _FORMER = "nginx.conf", "routes.conf", "process-id"
_TEMPORARY = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
_TURN_S, _AGAIN_S, _REFUSED_S = 0.5, 2.0, 5.0
_LOOK_S, _LOOKS = 0.05, 200


_TEMPLATE = """daemon off;
worker_processes 1;
worker_shutdown_timeout %(drain_s)ss;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
%(temporary)s  access_log off;
  server_tokens off;
  default_type application/json;
  map_hash_max_size 131072;
  map_hash_bucket_size 512;
  map $uri $shardpack_model {
    "~^/v[12]/models/(?<shardpack_name>[A-Za-z0-9._-]+)" $shardpack_name;
    default "";
  }
  map $shardpack_model $shardpack_route {
    "" serves;
    include %(routes)s;
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
    }
  }
}
"""
"""nginx's configuration; `config_text` fills it in."""


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
    drain_s
        How long requests may take to finish when it ends.
    """

    address: str
    port: int
    server_url: str
    folder: Path
    drain_s: int = 25


def routes(snapshot: Snapshot) -> dict[str, Route]:
    """Return what requests for each model meet; who is not named is not here. PURE."""
    wanted = {name for name, target in snapshot.targets.items() if target.model.state == "resident"}
    ready = {
        name for name, seen in snapshot.models.items() if seen.row is not None and seen.row.state == "READY"
    }
    found: dict[str, Route] = dict.fromkeys(wanted, "waits")
    if snapshot.live:
        leaving = {
            name for name in ready if (snapshot.models.get(name, NOTHING)).unload_asked_at_s is not None
        }
        found.update(dict.fromkeys(ready - leaving, "serves"))
    return found


def routes_text(snapshot: Snapshot) -> str:
    """Return the lines of nginx's ``map``; before the first document any model may yet be wanted. PURE."""
    found = routes(snapshot)
    return f"default {'waits' if snapshot.desired is None else 'absent'};\n" + map_lines(found, found)


def config_text(settings: ProxySettings, token: str) -> str:
    """Return nginx's configuration; paths in it are relative to the folder. PURE.

    Parameters
    ----------
    settings
        How it runs.
    token
        Under this path it answers 204: who asks knows that it is this one.
    """
    parts = urlsplit(settings.server_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    listen = f"[{settings.address}]" if ":" in settings.address else settings.address
    temporary = "".join(f"  {name}_temp_path {name}_temp;\n" for name in _TEMPORARY)
    return _TEMPLATE % {
        "drain_s": settings.drain_s,
        "temporary": temporary,
        "routes": _ROUTES,
        "host": host,
        "port": port,
        "listen": listen,
        "proxy_port": settings.port,
        "token": token,
        "retry_after_s": RETRY_AFTER_S,
        "scheme": parts.scheme,
    }


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
        self._known: str | None = None
        self._taken = ""
        self._fault: str | None = None
        self._nginx: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._program = find_nginx()

    @property
    def fault(self) -> str | None:
        """What nginx has against the routes, in place of which former ones hold; None where nothing."""
        return self._fault

    def start(self) -> None:
        """Write the configuration, start nginx and keep it told.

        Routes that nginx refuses end nothing: it starts with an earlier agent's last ones, else all waits.

        Raises
        ------
        SettingsError
            nginx does not accept it, or cannot listen there.
        """
        folder = self._settings.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _CONFIG).write_text(config_text(self._settings, self._token), encoding="utf-8")
            self._start_routes()
        except OSError as error:
            raise SettingsError(f"the proxy's files cannot be written: {error}") from error
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
                self._nginx.wait(self._settings.drain_s + 5)
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
                elif self._take_routes():
                    self._nginx.send_signal(signal.SIGHUP)
                elif self._fault is not None:
                    wait_s = _REFUSED_S
            except Exception:  # a full disk, or a fault of ours: the next turn tries again
                log.exception("the proxy could not be told")
                self._known, wait_s = None, _AGAIN_S

    def _start_routes(self) -> None:
        """Write the first routes, or what nginx takes in their place."""
        path = self._settings.folder / _ROUTES
        former = path.read_text(encoding="utf-8") if path.exists() else _ALL_WAIT
        texts = (routes_text(self._snapshot()), former, _ALL_WAIT)
        refusal: str | None = None
        for text in texts:
            self._write(_ROUTES, text)
            refusal = self._refusal()
            if refusal is None:
                self._known = self._taken = text
                return
            self._say(refusal)
        raise SettingsError(f"the proxy cannot run: {refusal}")

    def _take_routes(self) -> bool:
        """Write the routes if they are others than before and nginx takes them; return whether it is so."""
        text = routes_text(self._snapshot())
        if text == self._known:
            self._say(None)
            return False
        self._known = None  # whatever happens here, the next turn writes them again
        self._write(_ROUTES, text)
        refusal = self._refusal()
        if refusal is not None:
            self._write(_ROUTES, self._taken)
        else:
            self._taken = text
        self._known = self._taken
        self._say(refusal)
        return refusal is None

    def _write(self, name: str, text: str) -> None:
        path = self._settings.folder / name
        temporary = path.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(path)

    def _refusal(self) -> str | None:
        """Return what nginx has against what is written; a reload would say that to nobody."""
        done = subprocess.run(self._command("-t", "-q"), capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else done.stderr.strip() or f"nginx ended with {done.returncode}"

    def _say(self, refusal: str | None) -> None:
        """Note what nginx has against the routes, and log it where it is news."""
        if refusal is not None and self._fault is None:
            log.error("nginx refuses the routes: former ones hold", extra={"error": refusal})
        if refusal is None and self._fault is not None:
            log.info("nginx takes the routes again")
        self._fault = refusal

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
        self._nginx = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, start_new_session=True)
        self._write(_FORMER, str(self._nginx.pid))

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
