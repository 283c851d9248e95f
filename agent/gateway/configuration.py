"""What the two nginx processes of a gateway are told. PURE.

https://nginx.org/en/docs/http/ngx_http_map_module.html, https://nginx.org/en/docs/http/ngx_http_upstream_module.html
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent

from agent.nginx_map import map_lines
from agent.routes import Routes

RETRY_AFTER_S = 2
SOCKET = "switch.sock"
DIRECT_SOCKET = "direct.sock"
GENERATION_PATH = "/shardpack/generation"
HEALTH_PATH = "/shardpack/health"

Addresses = Mapping[str, tuple[str, ...]]
"""The addresses ``ip:port`` that each name of a shard or service stands for; one without any is not there."""

_TEMPORARY = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
_FEWEST_HASHES = 2048

_COMMON = """daemon off;
worker_processes %(workers)s;
worker_shutdown_timeout %(drain_s)ss;
pid %(name)s.pid;
error_log stderr warn;
%(user)sevents { worker_connections %(connections)s; }
http {
%(temporary)s  access_log off;
  server_tokens off;
  default_type application/json;
  client_max_body_size 0;
  large_client_header_buffers 8 32k;
  proxy_http_version 1.1;
  proxy_buffering off;
  proxy_read_timeout 1h;
  proxy_send_timeout 1h;
"""

# The door reads a request whole before it passes it on. An answer that overtook the rest of its request, as a
# refusal does, would make nginx close a connection that it has just promised to keep.
_DOOR = """  server {
    listen %(listen)s:%(port)s backlog=4096;
    keepalive_timeout 75s;
    keepalive_requests 1000000;
    client_body_buffer_size 1m;
    location = /%(token)s { return 204; }
    location / {
      proxy_pass http://unix:%(socket)s;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_next_upstream off;
      proxy_connect_timeout 5s;
      error_page 502 504 = @restarting;
    }
    location @restarting {
      internal;
      add_header Retry-After %(retry_after_s)s always;
      return 503 '{"error":"the gateway is starting again; try once more"}';
    }
  }
"""

# Where it is asked for, the switch is two servers that know the same models: one sends requests to the
# transformer of their model, the other, which transformers call, straight to the shards.
_SWITCH_HEAD = """  map_hash_max_size %(hashes)s;
  map_hash_bucket_size 512;
  map $uri $shardpack_model {
    "~^/v[12]/models/(?<shardpack_name>[A-Za-z0-9._-]+)" $shardpack_name;
    default "";
  }
  map $shardpack_model $shardpack_upstream {
    default "";
%(models)s  }
%(through)s%(upstreams)s"""

_THROUGH = """  map $shardpack_model $shardpack_service {
    default $shardpack_upstream;
%(services)s  }
"""

_SWITCH = """  server {
    listen unix:%(socket)s backlog=4096;
    keepalive_timeout 0;
    proxy_request_buffering off;
    location = %(generation_path)s { return 200 '{"generation":"%(generation)s"}'; }
    location = %(health_path)s { return 204; }
    location = /v2/health/live { return 200; }
    location = /v2/health/ready { return 200; }
    location /v2/repository { return 403 '{"error":"models are loaded by the agents alone"}'; }
    location ~ ^/v[12]/models/. {
      if ($shardpack_upstream = "") {
        return 404 '{"error":"group %(group)s has no such model; kubectl get trainedmodels lists them"}';
      }
      if ($shardpack_upstream = waits) {
        add_header Retry-After %(retry_after_s)s always;
        return 503 '{"error":"the model is not loaded on any shard yet"}';
      }
%(checks)s      proxy_pass http://%(target)s;
      proxy_set_header Host $http_host;
      proxy_next_upstream error timeout;
      proxy_connect_timeout 2s;
      error_page 502 504 = @absent;
    }
    location @absent {
      internal;
      add_header Retry-After %(retry_after_s)s always;
      return 503 '{"error":"%(silent)s; try again"}';
    }
    location / { return 404 '{"error":"ask at /v2/models/NAME/infer"}'; }
  }
"""

_NO_SERVICE = """      if ($shardpack_service = waits) {
        add_header Retry-After %(retry_after_s)s always;
        return 503 '{"error":"the transformer of the model is not there"}';
      }
"""
_SILENT_SHARDS = "no shard of the model answers"
_SILENT_SERVICE = "neither the transformer of the model nor a shard answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a gateway listens and works.

    Parameters
    ----------
    address, port
        Where clients connect.
    folder
        Of its configuration, its socket and temporary files; an absolute path.
    workers
        Worker processes of each nginx.
    drain_s
        How long a request may still take after the routes have changed, or after it was told to end.
    connections
        Connections of each worker, those to clients and those to shards together.
    direct_port
        Where transformers call the shards; None where no requests pass through any.
    user
        Whom the workers run as where the master may choose; None where it may not.
    """

    address: str
    port: int
    folder: str
    workers: int = 2
    drain_s: int = 3600
    connections: int = 4096
    direct_port: int | None = None
    user: str | None = None


def door_text(place: Place, *, token: str) -> str:
    """Return the configuration of the door, which never changes while it runs.

    Parameters
    ----------
    place
        Where it listens and works.
    token
        Under this path it answers 204 itself: who asks knows that it is this one that listens.
    """
    listen = f"[{place.address}]" if ":" in place.address else place.address
    ports = {place.port: SOCKET} | ({} if place.direct_port is None else {place.direct_port: DIRECT_SOCKET})
    servers = (
        _DOOR
        % {
            "listen": listen,
            "port": port,
            "socket": f"{place.folder}/{socket}",
            "retry_after_s": RETRY_AFTER_S,
            "token": token,
        }
        for port, socket in ports.items()
    )
    return _common("door", place) + "".join(servers) + "}\n"


def switch_text(place: Place, routes: Routes, addresses: Addresses, *, tag: str) -> str:
    """Return the configuration of the switch.

    Parameters
    ----------
    place
        Where it works.
    routes
        Which shards hold which model, and what its requests pass through.
    addresses
        Where the shards and the services are.
    tag
        What it answers under ``GENERATION_PATH``: who asks knows which configuration is in force.
    """
    targets = {name: _answering(shards, addresses) for name, shards in routes.models}
    names = {found: f"shards-{number}" for number, found in enumerate(sorted(set(targets.values()) - {()}))}
    services = {name: _answering((name,), addresses) for name, _ in routes.services}
    through = {model: f"through-{name}" if services[name] else "waits" for model, name in routes.through}
    upstreams = [_upstream(name, found) for found, name in names.items()]
    upstreams += [_upstream(f"through-{name}", found) for name, found in services.items() if found]
    head = _SWITCH_HEAD % {
        "hashes": _hashes(len(targets)),
        "models": _lines({name: names.get(found, "waits") for name, found in targets.items()}, targets),
        "through": _THROUGH % {"services": _lines(through, targets)} if through else "",
        "upstreams": "".join(upstreams),
    }
    servers = _server(place, routes, tag=tag, socket=SOCKET, is_direct=not through)
    if place.direct_port is not None:
        servers += _server(place, routes, tag=tag, socket=DIRECT_SOCKET, is_direct=True)
    return _common("switch", place) + head + servers + "}\n"


def _server(place: Place, routes: Routes, *, tag: str, socket: str, is_direct: bool) -> str:
    """Return a server of the switch: one that knows of transformers, or one that goes to shards alone."""
    return _SWITCH % {
        "socket": f"{place.folder}/{socket}",
        "generation_path": GENERATION_PATH,
        "health_path": HEALTH_PATH,
        "generation": tag,
        "group": routes.group,
        "retry_after_s": RETRY_AFTER_S,
        "checks": "" if is_direct else _NO_SERVICE % {"retry_after_s": RETRY_AFTER_S},
        "target": "$shardpack_upstream" if is_direct else "$shardpack_service",
        "silent": _SILENT_SHARDS if is_direct else _SILENT_SERVICE,
    }


def _common(name: str, place: Place) -> str:
    temporary = "".join(f"  {kind}_temp_path {name}_{kind}_temp;\n" for kind in _TEMPORARY)
    return _COMMON % {
        "name": name,
        "workers": place.workers,
        "drain_s": place.drain_s,
        "user": "" if place.user is None else f"user {place.user};\n",
        "connections": place.connections,
        "temporary": temporary,
    }


def _answering(shards: tuple[str, ...], addresses: Addresses) -> tuple[str, ...]:
    return tuple(sorted({address for shard in shards for address in addresses.get(shard, ())}))


def _upstream(name: str, addresses: tuple[str, ...]) -> str:
    """Return a set of servers: those that refuse a connection are left aside for two seconds."""
    fails = "max_fails=1 fail_timeout=2s" if len(addresses) > 1 else "max_fails=0"
    servers = "".join(f" server {address} {fails};" for address in addresses)
    return f"  upstream {name} {{ random two least_conn;{servers} }}\n"


def _lines(values: Mapping[str, str], known: Mapping[str, object]) -> str:
    return indent(map_lines(values, known), "    ")


def _hashes(names: int) -> int:
    """Return nginx's largest table for so many names: below twice as many it may find none that fits."""
    size = _FEWEST_HASHES
    while size < 2 * names:
        size *= 2
    return size


def server_address(host: str, port: int) -> str:
    """Return the address of a server as nginx writes it."""
    address = ipaddress.ip_address(host)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
