"""The documents that say on which shards each model of a group answers: what a gateway routes by.

This module is owned by their reader and is the contract between planner and gateway: the planner writes with
``routes_chunks``, the gateway reads with ``read_routes``. Standard library only.

A document is a key of a ConfigMap: ``{"version": 1, "group": "news", "generation": "<sha256>", "chunk": 0,
"chunks": 1, "shards": {"news-1": "news-1-shard.models.svc:80"}, "models": {"sports-en": ["news-1"]}}``. A
model with several shards is answered by any of them, one with none by nobody yet.

Where requests of some models pass through a transformer, a document has two more fields: the address of each
service, ``"services": {"news-transformer-scale": "news-transformer-scale.models.svc:80"}``, and of its models
those that have one, ``"through": {"sports-en": "news-transformer-scale"}``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.desired import MODEL_NAME, DocumentError

VERSION = 1

_GROUP = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SHARD = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_HOST = r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]"
_ADDRESS = re.compile(rf"(?P<host>{_HOST}):(?P<port>[1-9][0-9]{{0,4}})")
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Where the models of a group answer.

    Parameters
    ----------
    group
        Whose models.
    shards
        The address ``host:port`` of each shard, sorted by shard.
    models
        The shards that hold each model loaded, sorted by model; none is "not yet".
    services
        The address of each service that requests pass through, sorted.
    through
        What the requests of a model pass through, sorted by model; a model that is not there goes straight to
        its shards.
    """

    group: str
    shards: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, tuple[str, ...]], ...]
    services: tuple[tuple[str, str], ...] = ()
    through: tuple[tuple[str, str], ...] = ()

    @property
    def generation(self) -> str:
        """Hash of the content: equal generations route alike."""
        more = [self.services, self.through] if self.services else []
        content = _dumps([self.group, self.shards, self.models, *more])
        return hashlib.sha256(content.encode()).hexdigest()


def routes_of(
    *,
    group: str,
    shards: Mapping[str, str],
    models: Mapping[str, Iterable[str]],
    services: Mapping[str, str] | None = None,
    through: Mapping[str, str] | None = None,
) -> Routes:
    """Return routes in their order.

    Raises
    ------
    ValueError
        A name or an address that no gateway could be told of, a model on a shard or through a service without
        an address, or a service that is no model's.
    """
    routes = Routes(
        group=group,
        shards=tuple(sorted(shards.items())),
        models=tuple((name, tuple(models[name])) for name in sorted(models)),
        services=tuple(sorted((services or {}).items())),
        through=tuple(sorted((through or {}).items())),
    )
    _check(routes)
    return routes


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of an address.

    Raises
    ------
    DocumentError
        It is none.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > _HIGHEST_PORT:
        raise DocumentError(f"{address!r} is not an address, as news-1.models.svc:80")
    return match["host"], int(match["port"])


def routes_chunks(routes: Routes, *, max_bytes: int) -> tuple[str, ...]:
    """Return the documents of routes, at least one, each at most ``max_bytes`` long.

    Raises
    ------
    ValueError
        The shards' addresses, which are in every document, leave no room for a model.
    """
    head = {
        "version": VERSION,
        "group": routes.group,
        "generation": routes.generation,
        "shards": dict(routes.shards),
        **({"services": dict(routes.services)} if routes.services else {}),
    }
    # Room for the head with two generous numbers for `chunk` and `chunks`.
    through = dict(routes.through)
    bare = {**head, "chunk": 10**6, "chunks": 10**6, "models": {}, **({"through": {}} if through else {})}
    room = max_bytes - len(_dumps(bare))
    chunks: list[dict[str, tuple[str, ...]]] = [{}]
    used = 0
    for name, shards in routes.models:
        size = len(_dumps({name: shards})) - 1  # braces off, comma on
        size += len(_dumps({name: through[name]})) - 1 if name in through else 0
        if size > room:
            message = f"the addresses of {len(routes.shards)} shards leave no room for model {name!r}"
            raise ValueError(f"{message} in a document of {max_bytes} bytes")
        if used + size > room:
            chunks.append({})
            used = 0
        chunks[-1][name] = shards
        used += size
    return tuple(
        _dumps(
            {
                **head,
                "chunk": number,
                "chunks": len(chunks),
                "models": content,
                **(
                    {"through": {name: through[name] for name in content if name in through}}
                    if through
                    else {}
                ),
            }
        )
        for number, content in enumerate(chunks)
    )


def read_routes(texts: Mapping[str, str]) -> Routes:
    """Return what a complete set of documents says.

    Parameters
    ----------
    texts
        The documents by the name they are reported under (a file's name).

    Raises
    ------
    DocumentError
        A document is not valid, chunks are missing or of different generations, or the content does not have
        the hash that they name.
    """
    documents = {name: _read(text, name) for name, text in sorted(texts.items())}
    if not documents:
        raise DocumentError("no document with routes")
    heads = {(item["group"], item["generation"], item["chunks"]) for item in documents.values()}
    if len(heads) > 1:
        raise DocumentError(f"the documents are of different generations: {', '.join(documents)}")
    ((group, generation, chunks),) = heads
    numbers = sorted(item["chunk"] for item in documents.values())
    if numbers != list(range(chunks)):
        raise DocumentError(f"incomplete set: {chunks} documents are announced, found {numbers}")
    models: dict[str, tuple[str, ...]] = {}
    through: dict[str, str] = {}
    for name, item in documents.items():
        through.update(item.get("through", {}))
        for model, shards in item["models"].items():
            if model in models:
                raise DocumentError(f"{name}.models: {model!r} stands in two documents")
            models[model] = tuple(shards)
    first = next(iter(documents.values()))
    try:
        routes = routes_of(
            group=group,
            shards=first["shards"],
            models=models,
            services=first.get("services", {}),
            through=through,
        )
    except (TypeError, ValueError) as error:
        raise DocumentError(str(error)) from None
    if routes.generation != generation:
        raise DocumentError(f"generation: the content does not hash to {generation}")
    return routes


_FIELDS: dict[str, type] = {
    "version": int,
    "group": str,
    "generation": str,
    "chunk": int,
    "chunks": int,
    "shards": dict,
    "models": dict,
}


def _read(text: str, where: str) -> dict[str, Any]:
    """Return a document whose fields are there; what they hold is for ``_check``."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{where}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DocumentError(f"{where}: expected an object, found {type(document).__name__}")
    for field, kind in _FIELDS.items():
        found = document.get(field)
        if not isinstance(found, kind) or isinstance(found, bool):
            raise DocumentError(f"{where}.{field}: expected {kind.__name__}, found {type(found).__name__}")
    if document["version"] != VERSION:
        raise DocumentError(f"{where}.version: this gateway reads {VERSION}, found {document['version']}")
    for field in ("services", "through"):
        found = document.get(field, {})
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise DocumentError(f"{where}.{field}: expected names and text")
    for model, shards in document["models"].items():
        if not isinstance(shards, list) or not all(isinstance(shard, str) for shard in shards):
            raise DocumentError(f"{where}.models.{model}: expected a list of shards")
    return document


def _check(routes: Routes) -> None:
    """Raise unless everything can stand in a gateway's configuration as it is."""
    if not _GROUP.fullmatch(routes.group):
        raise DocumentError(f"group: {routes.group!r} is not the name of a group")
    known = set()
    for shard, address in routes.shards:
        if not _SHARD.fullmatch(shard):
            raise DocumentError(f"shards: {shard!r} is not the name of a shard")
        split_address(address)
        known.add(shard)
    for model, shards in routes.models:
        if not MODEL_NAME.fullmatch(model):
            raise DocumentError(f"models: {model!r} is not the name of a model")
        missing = [shard for shard in shards if shard not in known]
        if missing:
            raise DocumentError(f"models.{model}: shard {missing[0]!r} has no address")
    _check_services(routes)


def _check_services(routes: Routes) -> None:
    models, services = {name for name, _ in routes.models}, {name for name, _ in routes.services}
    for service, address in routes.services:
        if not _SHARD.fullmatch(service):
            raise DocumentError(f"services: {service!r} is not the name of a service")
        split_address(address)
    for model, service in routes.through:
        if model not in models:
            raise DocumentError(f"through: {model!r} is not a model of the group")
        if service not in services:
            raise DocumentError(f"through.{model}: service {service!r} has no address")
    idle = services - {service for _, service in routes.through}
    if idle:
        raise DocumentError(f"services: {min(idle)!r} is no model's")


def _dumps(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
