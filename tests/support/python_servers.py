"""MLServer and KServe's Python server as processes, each in an environment of its own (``make servers``)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from planner.rehearsal.triton import Ports
from tests.support.agent_process import eventually

_ROOT = Path(__file__).parents[2]


def environment_of(server: str) -> Path:
    """Return the environment of a server; the test is skipped where there is none."""
    folder = Path(os.environ.get("SHARDPACK_SERVERS", _ROOT / ".cache" / "servers")) / server
    if not (folder / "bin" / "python").exists():
        pytest.skip(f"{server} is not installed in {folder}: make servers")
    return folder


@dataclass(slots=True, kw_only=True)
class PythonServer:
    """One server over a model directory; a restart keeps its port.

    Parameters
    ----------
    command, environment
        How it is started.
    port
        Its HTTP port.
    log
        What it prints, appended over restarts.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    port: int
    log: Path
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                cwd=self.log.parent,
                start_new_session=True,
            )
        eventually(lambda: self.ask("GET", "/v2/health/live")[0] == 200, "the server's health")

    def kill(self) -> None:
        """End it and its workers as ``kill -9`` does."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Return status and text of an answer; status 0 is none."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def serves(self, name: str) -> bool:
        return self.ask("GET", f"/v2/models/{name}/ready")[0] == 200


def mlserver(models: Path, log: Path) -> PythonServer:
    """Return an MLServer that loads nothing by itself, not started."""
    folder, ports = environment_of("mlserver"), Ports.free()
    return PythonServer(
        command=(str(folder / "bin" / "mlserver"), "start", str(models)),
        environment={
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(ports.http),
            "MLSERVER_GRPC_PORT": str(ports.grpc),
            "MLSERVER_METRICS_PORT": str(ports.metrics),
            "MLSERVER_LOAD_MODELS_AT_STARTUP": "false",
            "MLSERVER_PARALLEL_WORKERS": "0",
        },
        port=ports.http,
        log=log,
    )


def kserve(models: Path, log: Path) -> PythonServer:
    """Return a KServe Python server, not started."""
    folder, ports = environment_of("kserve"), Ports.free()
    script = Path(__file__).with_name("kserve_server.py")
    return PythonServer(
        command=(str(folder / "bin" / "python"), str(script), str(models), str(ports.http)),
        environment={},
        port=ports.http,
        log=log,
    )


def sklearn_model(folder: Path) -> None:
    """Write ``model.joblib``: a regression whose answer is twice its input."""
    folder.mkdir(parents=True)
    code = (
        "import sys, joblib; from sklearn.linear_model import LinearRegression; "
        "joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), sys.argv[1])"
    )
    python = environment_of("mlserver") / "bin" / "python"
    subprocess.run([str(python), "-c", code, str(folder / "model.joblib")], check=True)
