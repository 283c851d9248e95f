"""A running agent, as a test sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PATIENCE_S = 60.0  # only ends a test that has failed


def eventually(truth: Callable[[], object], what: str, *, patience_s: float = _PATIENCE_S) -> None:
    """Return once ``truth`` holds; it fails the test when that does not happen."""
    deadline = time.monotonic() + patience_s
    while not truth():
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(0.02)


@dataclass(slots=True, kw_only=True)
class AgentProcess:
    """An agent beside a server.

    Parameters
    ----------
    folder
        Holds ``configs``, ``models``, its state, its log and its port.
    server_url
        The server's address.
    arguments, environment
        More of both.
    """

    folder: Path
    server_url: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    @property
    def configs(self) -> Path:
        return self.folder / "configs"

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def start(self) -> None:
        """Start it and return when it answers."""
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        self.spawn("--status-port", "0", "--status-port-file", str(port_file))
        eventually(lambda: port_file.exists() or self.exit_code is not None, "the agent's port")
        assert self.exit_code is None, self.log

    def spawn(self, *more: str) -> None:
        """Start it with more arguments and do not wait for anything."""
        self.configs.mkdir(exist_ok=True)
        command = [
            *(sys.executable, "-m", "agent.cli"),
            *("--config-dir", str(self.configs), "--model-dir", str(self.models)),
            *("--server-url", self.server_url, "--poll-period", "0.2", "--retry-base", "1"),
            *(*self.arguments, *more),
        ]
        with (self.folder / "agent.log").open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=Path(__file__).parents[2], env=self.environment
            )

    def fetch(self, most_s: float = _PATIENCE_S) -> int:
        """Let it fetch every model before the server starts, and return its exit code."""
        self.spawn("--fetch-only")
        assert self._process is not None
        return self._process.wait(most_s)

    @property
    def exit_code(self) -> int | None:
        assert self._process is not None
        return self._process.poll()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: int, pid: int | None = None) -> None:
        """Send a signal to it, or to a process of its own."""
        os.kill(self.pid if pid is None else pid, number)

    def terminate(self) -> int:
        """Ask it to end and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(_PATIENCE_S)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of an answer."""
        url = f"http://127.0.0.1:{(self.folder / 'port').read_text().strip()}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        """Return the status document."""
        code, text = self.get("/status")
        assert code == 200, text
        document: dict[str, Any] = json.loads(text)
        return document

    def paged(self, *, limit: int) -> dict[str, Any]:
        """Return the models of the status, read page by page."""
        models: dict[str, Any] = {}
        after = ""
        while True:
            code, text = self.get(f"/status?limit={limit}{after}")
            assert code == 200, text
            page = json.loads(text)
            assert len(page["models"]) <= limit
            models |= page["models"]
            if page["continue"] is None:
                return models
            after = f"&continue={page['continue']}"

    def states(self) -> dict[str, str]:
        """Return every model's state."""
        return {name: model["state"] for name, model in self.status()["models"].items()}

    def done(self, action: str) -> int:
        """Return how many actions of a kind have been carried out."""
        _, text = self.get("/metrics")
        key = f'shardpack_agent_actions_total{{action="{action}",outcome="done"}} '
        return sum(int(float(line.removeprefix(key))) for line in text.splitlines() if line.startswith(key))

    def wait_ready(self) -> None:
        """Return when it is ready."""
        eventually(lambda: self.get("/readyz")[0] == 200, "ready")
