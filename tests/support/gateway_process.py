"""A running gateway, as a test sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.routes import Routes, routes_chunks, routes_of
from planner.rehearsal.free_ports import free_port
from planner.rehearsal.mount import mount_files
from tests.support.agent_process import eventually


@dataclass(slots=True, kw_only=True)
class GatewayProcess:
    """A gateway of group ``news``.

    Parameters
    ----------
    folder
        Holds its documents, its work and its log.
    shards
        The address of each shard.
    """

    folder: Path
    shards: Mapping[str, str]
    port: int = field(default_factory=free_port)
    direct_port: int | None = None
    address: str = "127.0.0.1"
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def mount(
        self, models: Mapping[str, Iterable[str]], *, max_bytes: int = 900_000, leave_out: int | None = None
    ) -> str:
        """Mount routes as a kubelet would, and return their generation."""
        routes = routes_of(group="news", shards=self.shards, models=models)
        return self.mount_routes(routes, max_bytes=max_bytes, leave_out=leave_out)

    def mount_routes(self, routes: Routes, *, max_bytes: int = 900_000, leave_out: int | None = None) -> str:
        """Mount routes that may lead through services."""
        chunks = routes_chunks(routes, max_bytes=max_bytes)
        texts = {f"routes-{number}.json": text for number, text in enumerate(chunks) if number != leave_out}
        (self.folder / "routes").mkdir(exist_ok=True)
        mount_files(self.folder / "routes", texts)
        return routes.generation

    def route(self, models: Mapping[str, Iterable[str]]) -> None:
        """Mount routes, and return when no request goes by any others."""
        generation = self.mount(models)
        eventually(lambda: self._settled(generation), f"routes in force:\n{self.log[-2000:]}")

    def _settled(self, generation: str) -> bool:
        status = self.status()
        return bool(status["observedGeneration"] == generation and status["draining"] == 0)

    def spawn(self) -> None:
        """Start it and do not wait for anything."""
        (self.folder / "status-port").unlink(missing_ok=True)
        command = [
            *(sys.executable, "-m", "agent.gateway.cli", "--address", self.address, "--port", str(self.port)),
            *("--config-dir", str(self.folder / "routes"), "--work-dir", str(self.work)),
            *("--status-port", "0", "--status-port-file", str(self.folder / "status-port")),
            *("--period", "0.2", "--leave", "0", "--drain", "10"),
            *([] if self.direct_port is None else ["--direct-port", str(self.direct_port)]),
        ]
        with (self.folder / "gateway.log").open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=Path(__file__).parents[2]
            )

    def start(self) -> None:
        """Start it and return when it is ready."""
        self.spawn()
        port = self.folder / "status-port"
        eventually(lambda: port.exists() or self.exit_code is not None, "its status port")
        eventually(lambda: self.exit_code is not None or self.get("/readyz")[0] == 200, "ready")
        assert self.exit_code is None, self.log

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of what it says of itself."""
        url = f"http://127.0.0.1:{(self.folder / 'status-port').read_text().strip()}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def status(self) -> dict[str, Any]:
        code, text = self.get("/status")
        assert code == 200, text
        document: dict[str, Any] = json.loads(text)
        return document

    @property
    def exit_code(self) -> int | None:
        assert self._process is not None
        return self._process.poll()

    def master(self, name: str) -> int:
        """Return the process id of the nginx of this name, ``door`` or ``switch``."""
        return int((self.work / f"{name}.pid").read_text())

    def terminate(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)

    def kill(self) -> None:
        """End it and both nginx as ``kill -9`` does."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for name in ("door", "switch"):
            try:
                os.killpg(self.master(name), signal.SIGKILL)
            except (OSError, ValueError):
                continue  # it ended in time
