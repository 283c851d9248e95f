"""One shard for one fault: a store that misbehaves as told, a real Triton, one of two agents beside it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from agent.desired import models_json
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import Ports, TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.triton_server import ready

DISK_BYTES = 16 << 20
LIMIT_S = 30.0
"""Seconds after the fault in which everything has to be as desired."""

SETTLED_S = 5.0
"""Seconds that it has to stay so: longer than any load of a fault that ends."""

Wanted = dict[str, str]
"""The edition that is wanted of each model, by name."""


class Contender(Protocol):
    """An agent that can be started and killed."""

    def start(self) -> None: ...
    def kill(self) -> None: ...


class Peer:
    """KServe's agent as it is mirrored here."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        self._folder, self._server_url = folder, f"http://127.0.0.1:{ports.http}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        places = [str(self._folder / "configs"), str(self._folder / "models")]
        command = [sys.executable, "-m", "tests.support.kserve_agent", *places, self._server_url]
        with (self._folder / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[3])

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def ours(folder: Path, ports: Ports) -> AgentProcess:
    """Return our agent as the manifests start it, with its own periods where tests have shorter ones."""
    usual = ("--poll-period", "2", "--retry-base", "10", "--server-grpc-url", f"127.0.0.1:{ports.grpc}")
    return AgentProcess(folder=folder, server_url=f"http://127.0.0.1:{ports.http}", arguments=usual)


CONTENDERS: dict[str, Callable[[Path, Ports], Contender]] = {"ours": ours, "kserve": Peer}


class Store(ThreadingHTTPServer):
    """Models as archives over HTTP.

    ``failing`` counts the answers that are still to be errors, ``holding`` names models whose archive stops
    half way until ``released``; ``asked`` counts requests.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Archives)
        self.folder = folder
        self.failing: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.holding: set[str] = set()
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients are killed here."""

    def add(self, name: str, edition: str, *, size: int = 0, **parameters: str) -> None:
        """Make an edition of a model; the server shows its number as a parameter of the config."""
        source = self.folder / f"{name}-{edition}"
        model_folder(source, parameters={**parameters, "edition": edition})
        with (source / "1" / "weights").open("wb") as weights:
            weights.write(os.urandom(size))
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            archive.add(source, arcname=".")
        (self.folder / f"{name}-{edition}.tar.gz").write_bytes(content.getvalue())

    def uri(self, name: str, edition: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}-{edition}.tar.gz"


class _Archives(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        key = self.path.strip("/").removesuffix(".tar.gz")
        name, store = key.rpartition("-")[0], self.server
        store.asked[name] += 1
        if store.failing[name]:
            store.failing[name] -= 1
            self.send_error(500)
            return
        content = (store.folder / f"{key}.tar.gz").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        if name in store.holding:
            self.wfile.flush()
            store.released.wait(120)
        self.wfile.write(content[half:])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a fault ended: ``wrong`` is empty where all is as desired, else it says what is not."""

    survived: bool
    seconds: float | None
    wrong: str


class Stage:
    """What a fault happens to.

    Parameters
    ----------
    folder
        An empty folder of its own; its log and documents are there.
    disk
        Where the models lie: a small filesystem of its own where the fault needs one, else a folder.
    contender
        ``ours`` or ``kserve``.
    """

    def __init__(self, folder: Path, disk: Path, home: TritonHome, contender: str) -> None:
        self.folder, self.disk, self._home = folder, disk, home
        (folder / "store").mkdir(parents=True)
        (disk / "models").mkdir(parents=True)
        (folder / "models").symlink_to(disk / "models")
        self.store = Store(folder / "store")
        self._ports = Ports.free()
        self._server: TritonProcess | None = None
        self.agent = CONTENDERS[contender](folder, self._ports)
        self.desired: Wanted = {}
        self.unjudged: set[str] = set()

    @property
    def server(self) -> TritonProcess:
        assert self._server is not None
        return self._server

    def serve(self) -> None:
        """Start the server; nothing is loaded by that."""
        options = TritonOptions(ports=self._ports)
        self._server = start_triton(self.folder.name, self.disk / "models", home=self._home, options=options)

    def want(self, models: Iterable[str], edition: str = "a") -> None:
        """Ask for these models and no others."""
        self.desired = dict.fromkeys(models, edition)
        self.mount()

    def mount(self) -> None:
        """Mount ``models.json`` with what is desired, as a kubelet does."""
        mount_files(self.folder / "configs", {"models.json": self.text()})

    def text(self) -> str:
        return models_json(
            wanted(name, storage_uri=self.store.uri(name, edition)) for name, edition in self.desired.items()
        )

    def begin(self, *models: str) -> None:
        """Bring up both with these models and return when they are served and the agent rests."""
        self.serve()
        self.want(models)
        self.agent.start()
        eventually(lambda: self.held() == self.desired, "the models before the fault")
        time.sleep(1.0)

    def held(self) -> Wanted:
        """Return the edition that the server serves of each model, those left out that are not judged."""
        names = sorted(ready(self.server) - self.unjudged)
        with ThreadPoolExecutor(4) as threads:
            return dict(zip(names, threads.map(self._edition, names), strict=True))

    def _edition(self, name: str) -> str:
        """Return the edition that a model was loaded in; empty for one that left after it was listed."""
        try:
            return self._config_of(name)
        except urllib.error.HTTPError as error:
            error.close()
            return ""

    def _config_of(self, name: str) -> str:
        with urllib.request.urlopen(f"{self.server.http_url}/v2/models/{name}/config", timeout=30) as answer:
            edition: str = json.loads(answer.read())["parameters"]["edition"]["string_value"]
            return edition

    def outcome(self) -> Outcome:
        """Wait until the server holds what is desired, for good, or the limit is over."""
        began = time.monotonic()
        since: float | None = None
        wrong = ""
        while time.monotonic() - began < LIMIT_S + SETTLED_S:
            wrong = self._wrong()
            now = time.monotonic()
            since = None if wrong else since or now
            if since is not None and now - since >= SETTLED_S:
                return Outcome(survived=True, seconds=round(since - began, 1), wrong="")
            time.sleep(0.2)
        return Outcome(survived=False, seconds=None, wrong=wrong or "not for good")

    def _wrong(self) -> str:
        try:
            held = self.held()
        except OSError as error:
            return f"the server: {error}"
        wanted_here = {name: edition for name, edition in self.desired.items() if name not in self.unjudged}
        kinds = {
            "missing": wanted_here.keys() - held.keys(),
            "not removed": held.keys() - wanted_here.keys(),
            "in its former edition": {
                name for name in held.keys() & wanted_here.keys() if held[name] != wanted_here[name]
            },
        }
        return ", ".join(
            f"{len(names)} of {len(wanted_here)} {what}" for what, names in kinds.items() if names
        )

    def stop(self) -> None:
        self.store.released.set()
        self.agent.kill()
        if self._server is not None:
            self._server.kill()
        self.store.shutdown()
        self.store.server_close()
