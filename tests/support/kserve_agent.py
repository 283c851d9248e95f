"""How KServe's model agent behaves, bare and in our own words, to stand beside ours: run as a program.

``python -m tests.support.kserve_agent CONFIGS MODELS SERVER_URL``

It mirrors what was read in github.com/kserve/kserve: ``pkg/agent/watcher.go`` (commit 23282ea), ``puller.go``
(9905889), ``downloader.go`` (e5b7919), ``syncer.go`` (6c00c88), ``storage/https.go`` (00217d1) and
``storage/utils.go`` (0217bda). No line is theirs. What is kept is what decides who survives a fault: the
channels and their bounds, which task waits for which, the order of events, what is remembered of a document,
and that a call is made once and without a timeout. Threads stand for goroutines. Only archives over HTTP are
fetched; the proxy beside it is left out.

Where it cannot be the same: Go's runtime ends a program all of whose tasks wait, and a kubelet then starts it
again, into the same state; here it goes on waiting. A swap of the documents is seen by looking at their link
every 2 ms, not by inotify.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import shutil
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

EVENTS, COMPLETIONS, OPERATIONS = 100, 4, 8
"""How many items the channels hold: from the watcher to the puller, back from models' tasks, to each task."""

LOOKS_S = 0.002

_log = logging.getLogger("kserve-agent")
_moved = threading.Condition()

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing to do with a model; ``starting`` for those that its start waits for."""

    kind: Literal["add", "remove"]
    model: str
    spec: Spec
    starting: bool = False


class Channel:
    """A bounded channel of operations: who sends waits for room, who receives waits for an item."""

    def __init__(self, bound: int) -> None:
        self._bound, self._items, self._closed = bound, deque[Operation](), False

    def __len__(self) -> int:
        return len(self._items)

    def send(self, item: Operation) -> None:
        with _moved:
            _moved.wait_for(lambda: len(self._items) < self._bound)
            self._items.append(item)
            _moved.notify_all()

    def close(self) -> None:
        with _moved:
            self._closed = True
            _moved.notify_all()

    def receive(self) -> Operation | None:
        """Return the next item; None once it is closed and empty."""
        with _moved:
            _moved.wait_for(lambda: self._items or self._closed)
            return self._take() if self._items else None

    def _take(self) -> Operation:
        item = self._items.popleft()
        _moved.notify_all()
        return item

    @staticmethod
    def receive_any(*channels: Channel) -> tuple[Channel, Operation]:
        """Return an item of whichever channel has one, by chance if several have."""
        with _moved:
            _moved.wait_for(lambda: any(map(len, channels)))
            chosen = random.choice([channel for channel in channels if len(channel)])
            return chosen, chosen._take()


@dataclass(slots=True)
class Tracked:
    """What the watcher remembers of a model."""

    spec: Spec
    stale: bool = False


class Watcher:
    """Documents to operations."""

    def __init__(self, configs: Path, models: Path) -> None:
        self._configs = configs
        self._tracked = remembered(models)
        self.events = Channel(EVENTS)
        self._read(configs / "models.json", starting=True)

    def watch(self) -> None:
        """Obey every later swap; what came before is not looked at again."""
        data = self._configs / "..data"
        seen = data.readlink() if data.is_symlink() else None
        while True:
            time.sleep(LOOKS_S)
            now = data.readlink() if data.is_symlink() else None
            if now not in (seen, None):
                self._read(data.resolve() / "models.json", starting=False)
            seen = now

    def _read(self, path: Path, *, starting: bool) -> None:
        try:
            wanted = {entry["modelName"]: entry["modelSpec"] for entry in json.loads(path.read_text())}
        except (OSError, ValueError) as error:
            _log.error("failed to sync model config file: %s", error)
            return
        for name, spec in wanted.items():
            self._see(name, spec, starting=starting)
        for name, tracked in list(self._tracked.items()):
            if tracked.stale:
                del self._tracked[name]
                self._send("remove", name, tracked.spec)
            else:
                tracked.stale = True  # unless the next document names it

    def _see(self, name: str, spec: Spec, *, starting: bool) -> None:
        tracked = self._tracked.get(name)
        if tracked is None:
            self._tracked[name] = Tracked(spec)
            self._send("add", name, spec, starting=starting)
            return
        tracked.stale = False
        if tracked.spec != spec:  # and the former one is what is remembered
            self._send("remove", name, spec)
            self._send("add", name, spec, starting=starting)

    def _send(self, kind: Literal["add", "remove"], name: str, spec: Spec, *, starting: bool = False) -> None:
        self.events.send(Operation(kind=kind, model=name, spec=spec, starting=starting))


def remembered(models: Path) -> dict[str, Tracked]:
    """Return the models whose files are there whole: they are taken for loaded."""
    found = models.glob("*/SUCCESS.*")
    return {path.parent.name: Tracked(json.loads(path.read_text()), stale=True) for path in found}


class Puller:
    """Operations to one task a model, which carries them out in turn."""

    def __init__(self, models: Path, server_url: str) -> None:
        self._models, self._server_url = models, server_url
        self._completions = Channel(COMPLETIONS)
        self._tasks: dict[str, Channel] = {}
        self._in_flight: dict[str, int] = {}
        self._starting = 0

    def start(self, events: Channel) -> None:
        """Return when everything that waits at the start was attempted."""
        self._starting = len(events)
        threading.Thread(target=self._dispatch, args=(events,), daemon=True).start()
        with _moved:
            _moved.wait_for(lambda: self._starting == 0)

    def _dispatch(self, events: Channel) -> None:
        while True:
            channel, operation = Channel.receive_any(events, self._completions)
            if channel is events:
                self._enqueue(operation)
            else:
                self._complete(operation)

    def _enqueue(self, operation: Operation) -> None:
        name = operation.model
        if name not in self._tasks:
            self._tasks[name] = Channel(OPERATIONS)
            self._in_flight[name] = 0
            threading.Thread(target=self._work, args=(self._tasks[name],), daemon=True).start()
        self._in_flight[name] += 1
        self._tasks[name].send(operation)  # completions are not taken while this waits

    def _complete(self, operation: Operation) -> None:
        name = operation.model
        self._in_flight[name] -= 1
        if self._in_flight[name] == 0:
            self._tasks.pop(name).close()
        if operation.starting:
            with _moved:
                self._starting -= 1
                _moved.notify_all()

    def _work(self, operations: Channel) -> None:
        while (operation := operations.receive()) is not None:
            try:
                if operation.kind == "add":
                    self._add(operation)
                else:
                    self._remove(operation)
            except (OSError, tarfile.TarError) as error:  # a call that fails is told and not made again
                _log.error("failed to %s model %s: %s", operation.kind, operation.model, error)
            self._completions.send(operation)

    def _add(self, operation: Operation) -> None:
        folder = self._models / operation.model
        text = json.dumps(operation.spec, sort_keys=True)
        whole = folder / f"SUCCESS.{hashlib.sha256(text.encode()).hexdigest()}"
        if not whole.exists():
            fetch(operation.spec["storageUri"], folder)
            whole.write_text(text)
        self._post(operation.model, "load")

    def _remove(self, operation: Operation) -> None:
        shutil.rmtree(self._models / operation.model)  # before the unload; where it fails there is none
        self._post(operation.model, "unload")

    def _post(self, name: str, what: str) -> None:
        url = f"{self._server_url}/v2/repository/models/{name}/{what}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, data=b"{}", headers=headers, method="POST")
        with urllib.request.urlopen(request):
            _log.info("%sed model %s", what, name)


def fetch(uri: str, folder: Path) -> None:
    """Unpack an archive into a model's folder as it comes."""
    with urllib.request.urlopen(uri) as answer, tarfile.open(fileobj=answer, mode="r|gz") as archive:
        for member in archive:
            place = folder / member.name
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None, "the archives of a test hold files and folders"
            with place.open("wb") as stream:
                shutil.copyfileobj(content, stream)


def main(configs: str, models: str, server_url: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    watcher = Watcher(Path(configs), Path(models))
    Puller(Path(models), server_url).start(watcher.events)
    _log.info("everything of the start was attempted")
    watcher.watch()


if __name__ == "__main__":
    main(*sys.argv[1:])
