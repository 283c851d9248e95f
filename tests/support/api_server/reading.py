"""Getting, listing and watching objects."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support.api_server.refusals import Object, RefusalError, bad_request, not_found
from tests.support.api_server.selectors import Selector, field_selector, label_selector
from tests.support.api_server.storage import Entry, Happening, Storage
from tests.support.api_server.targets import Request, Target

_LONGEST_WATCH_S = 1800
_LOOK_S = 0.5
"""How often a watch asks whether it was told to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An answer to a list, as JSON."""

    text: bytes


class Reading:
    """All that changes nothing; ``bookmark_s`` is how often a quiet watch says where it is."""

    def __init__(self, storage: Storage, *, bookmark_s: float) -> None:
        self._storage = storage
        self._bookmark_s = bookmark_s

    def get(self, target: Target) -> Entry:
        entry = self._storage.get(target.kind.table, (target.namespace, target.name))
        if entry is None:
            raise not_found(target.kind.group, target.kind.plural, target.name)
        return entry

    # -------------------------------------------------------------------------------------------------- lists

    def list(self, target: Target, request: Request) -> Page:
        select = _selector(target, request)
        limit = int(request.query.get("limit") or 0)
        token = request.query.get("continue")
        if token:
            number = _number(token)
            version, entries = self._storage.kept(number)
        else:
            version, entries = self._storage.snapshot(target.kind.table, target.namespace)
        found = [entry for entry in entries if select is None or select(entry.object)]
        metadata: Object = {"resourceVersion": str(version)}
        if limit and len(found) > limit:
            rest = found[limit:]
            metadata["continue"] = _token(self._storage.keep(version, rest))
            if select is None:
                metadata["remainingItemCount"] = len(rest)
            found = found[:limit]
        head = {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.kind.api_version,
            "metadata": metadata,
        }
        text = json.dumps(head, separators=(",", ":")).encode()[:-1]
        return Page(text=text + b',"items":[' + b",".join(entry.text for entry in found) + b"]}")

    # ------------------------------------------------------------------------------------------------ watches

    def watch(self, target: Target, request: Request, *, ended: Callable[[], bool]) -> Iterator[bytes]:
        """The lines of a watch until its time is over or it is told to end.

        Raises
        ------
        RefusalError
            Bad selectors; what else goes wrong is an event.
        """
        select = _selector(target, request)
        version = request.query.get("resourceVersion") or "0"
        if not version.isdigit():
            raise bad_request(f"Invalid value: {json.dumps(version)}: strconv.ParseUint: invalid syntax")
        return self._lines(target, request, select, int(version), ended)

    def _lines(
        self,
        target: Target,
        request: Request,
        select: Selector | None,
        version: int,
        ended: Callable[[], bool],
    ) -> Iterator[bytes]:
        seconds = min(int(request.query.get("timeoutSeconds") or _LONGEST_WATCH_S), _LONGEST_WATCH_S)
        deadline = time.monotonic() + seconds
        bookmarks = request.is_set("allowWatchBookmarks")
        try:
            if version == 0:
                version, entries = self._storage.snapshot(target.kind.table, target.namespace)
                shown = [entry for entry in entries if select is None or select(entry.object)]
                yield from (_line("ADDED", entry.text) for entry in shown)
            number = self._storage.after(target.kind.table, version)
            told = time.monotonic()
            while not ended():
                left = deadline - time.monotonic()
                found, version = self._storage.since(
                    target.kind.table, number, wait_s=max(0.0, min(left, _LOOK_S, self._bookmark_s))
                )
                number += len(found)
                text = b"".join(self._line_of(happening, target, select) for happening in found)
                now = time.monotonic()
                over = now >= deadline
                if bookmarks and (over or now - told >= self._bookmark_s):
                    text += _bookmark(target, version)
                    told = now
                if text:
                    yield text
                if over:
                    return
        except RefusalError as refusal:
            yield _line("ERROR", json.dumps(refusal.status()).encode())

    @staticmethod
    def _line_of(happening: Happening, target: Target, select: Selector | None) -> bytes:
        """The line of what happened, as those see it who select; empty if they do not."""
        entry, before = happening.entry, happening.before
        if target.namespace and entry.object["metadata"].get("namespace") != target.namespace:
            return b""
        if select is None:
            return _line(happening.type, entry.text)
        now = happening.type != "DELETED" and select(entry.object)
        then = before is not None and select(before.object)
        if now:
            return _line("MODIFIED" if then else "ADDED", entry.text)
        return _line("DELETED", entry.text) if then else b""


def _selector(target: Target, request: Request) -> Selector | None:
    parts: list[Selector] = []
    if labels := request.query.get("labelSelector"):
        parts.append(label_selector(labels))
    if fields := request.query.get("fieldSelector"):
        parts.append(field_selector(fields, plural=target.kind.plural))
    if target.name:  # a watch of one object by its path
        parts.append(lambda item: item["metadata"]["name"] == target.name)
    return (lambda item: all(part(item) for part in parts)) if parts else None


def _token(number: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", "start": number}).encode()).decode()


def _number(token: str) -> int:
    try:
        return int(json.loads(base64.urlsafe_b64decode(token))["start"])
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request("continue key is not valid") from error


def _line(word: str, text: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (word.encode(), text)


def _bookmark(target: Target, version: int) -> bytes:
    item = {
        "kind": target.kind.kind,
        "apiVersion": target.kind.api_version,
        "metadata": {"resourceVersion": str(version)},
    }
    return _line("BOOKMARK", json.dumps(item, separators=(",", ":")).encode())
