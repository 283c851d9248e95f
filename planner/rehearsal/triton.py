"""Real Triton servers on loopback: started, awaited, killed, brought back."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from planner.errors import ShardpackError
from planner.rehearsal.children import start_child
from planner.rehearsal.free_ports import HOST, free_ports
from planner.rehearsal.listening import listens_on
from planner.rehearsal.triton_files import TritonHome, runtime_paths

_log = logging.getLogger(__name__)

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the python backend keeps its queues
_PORT_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Loopback ports of one server; ``grpc`` is None where it is not opened."""

    http: int
    grpc: int | None
    metrics: int

    @classmethod
    def free(cls) -> Self:
        """Return three that nobody listens on at the moment."""
        http_port, grpc_port, metrics_port = free_ports(3)
        return cls(http=http_port, grpc=grpc_port, metrics=metrics_port)

    def opened(self) -> tuple[int, ...]:
        """Return those that the server listens on."""
        return tuple(port for port in (self.http, self.grpc, self.metrics) if port is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonOptions:
    """How a server is set up.

    Parameters
    ----------
    pool_bytes
        Triton's own memory pool on every GPU that it sees (its default is 64 MiB).
    load_threads
        Models that load at the same time.
    http_threads
        Each load over HTTP holds one of these, so there must be more of them than ``load_threads``.
    load_at_start
        Models loaded before the server is live, ``("*",)`` for the whole repository.
    exit_timeout_s
        How long a server that was told to end waits for requests, in whole seconds.
    ports
        Where it listens; None picks free ones, and others if someone else takes them meanwhile.
    live_timeout_s
        How long it may take to come up, loads at start included.
    arguments
        Further command line arguments, last.
    """

    pool_bytes: int = 64 * 2**20
    load_threads: int = 8
    http_threads: int = 32
    load_at_start: tuple[str, ...] = ()
    exit_timeout_s: int = 5
    ports: Ports | None = None
    live_timeout_s: float = 60.0
    arguments: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class TritonProcess:
    """One server. Its process group holds its python models as well.

    Parameters
    ----------
    name
        Of the shard it stands for.
    ports
        Where it listens; a restart keeps them.
    log
        What the server prints, appended over restarts.
    command, environment
        How it is started.
    server_id
        The name it gives itself, the only one of it on this machine; the names of its python models' shared
        memory begin with it.
    """

    name: str
    ports: Ports
    log: Path
    server_id: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    _process: subprocess.Popen[bytes] | None = field(init=False, repr=False, default=None)
    _cleared: bool = field(init=False, repr=False, default=False)

    @property
    def http_url(self) -> str:
        """Base of its V2 endpoints, without a slash at the end."""
        return f"http://{HOST}:{self.ports.http}"

    @property
    def metrics_url(self) -> str:
        """Its Prometheus metrics."""
        return f"http://{HOST}:{self.ports.metrics}/metrics"

    @property
    def pid(self) -> int:
        """Process id of the server itself, as NVML lists it."""
        return self._started().pid

    @property
    def exit_code(self) -> int | None:
        """How it ended (negative: by that signal); None while it runs."""
        return self._started().poll()

    def start(self) -> None:
        """Start it, or start it again after it ended, on the same ports; nothing is loaded by that."""
        if self._process is not None:
            self.kill()
        self._process = start_child(self.command, log=self.log, environment=self.environment)
        self._cleared = False
        _log.info("started server", extra={"shard": self.name, "pid": self.pid, "http_port": self.ports.http})

    def is_live(self) -> bool:
        """Whether it runs and answers, itself: another server may listen where it tries to."""
        if self.exit_code is not None:
            return False
        # Whoever answers may be anything, so its answer is not taken for JSON.
        return f'"name":"{self.server_id}"'.encode() in (_get(self.ports.http, "/v2") or b"")

    def wait_live(self, timeout_s: float = 60.0) -> None:
        """Return when it is live.

        Raises
        ------
        ShardpackError
            It ended instead, or was not live in time; the end of its log is in the message.
        """
        deadline = time.monotonic() + timeout_s
        while not (self.is_live() and listens_on(self.pid, self.ports.opened())):
            if self.exit_code is not None:
                raise ShardpackError(f"server {self.name} ended with {self.exit_code}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ShardpackError(
                    f"server {self.name} was not live after {timeout_s:g} s:\n{self.log_tail()}"
                )
            time.sleep(0.02)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ShardpackError(f"server {self.name} was never started")
        return self._process

    def terminate(self, timeout_s: float = 30.0) -> int:
        """Ask it to end, wait, and kill what is left after ``timeout_s``; returns the exit code."""
        if self.exit_code is None:
            self._started().terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._started().wait(timeout_s)
        return self.kill()

    def kill(self) -> int:
        """End it and its python models at once, as ``kill -9`` does; returns the exit code."""
        if not self._cleared:  # once: later, the number may be another's group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._started().wait()
            for path in _SHARED_MEMORY.glob(f"{self.server_id}_*"):
                path.unlink(missing_ok=True)
            self._cleared = True
        return self._started().wait()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def start_triton(
    name: str,
    repository: Path,
    *,
    home: TritonHome,
    gpus: Mapping[str, str] | None = None,
    options: TritonOptions | None = None,
) -> TritonProcess:
    """Start a server and return it live. It is killed when this Python ends, however that happens.

    Parameters
    ----------
    name
        Of the shard; its log is ``<name>.log`` in the home's ``work_dir``.
    repository
        The model repository, a folder that exists (it may be empty).
    home
        The installed server, its backends and the working directory (``prepare_triton``).
    gpus
        ``gpus.environment(...)`` with ``visible`` given; None starts a server that sees no GPU.
    options
        How it is set up; None takes the defaults.

    Raises
    ------
    ShardpackError
        It did not come up; the end of its log is in the message.
    """
    options = options or TritonOptions()
    for _ in range(_PORT_ATTEMPTS):
        server = _describe(name, repository, home=home, gpus=gpus or {}, options=options)
        server.start()
        try:
            server.wait_live(options.live_timeout_s)
        except BaseException as error:
            server.kill()
            if not isinstance(error, ShardpackError) or options.ports or not _lost_a_port(server):
                raise
            _log.info("a port was taken meanwhile, trying others", extra={"shard": name})
        else:
            return server
    raise ShardpackError(f"server {name} found no free ports in {_PORT_ATTEMPTS} attempts")


def _describe(
    name: str, repository: Path, *, home: TritonHome, gpus: Mapping[str, str], options: TritonOptions
) -> TritonProcess:
    ports = options.ports or Ports.free()
    server_id = f"shardpack_{name}_{os.getpid()}_{ports.http}"
    visible = [uuid for uuid in gpus.get("CUDA_VISIBLE_DEVICES", "").split(",") if uuid]
    return TritonProcess(
        name=name,
        ports=ports,
        log=home.work_dir / f"{name}.log",
        server_id=server_id,
        command=(
            str(home.files.server),
            f"--id={server_id}",
            f"--model-repository={repository}",
            f"--backend-directory={home.backends}",
            *_model_flags(options),
            *_endpoint_flags(ports, options),
            *_memory_flags(options, gpu_count=len(visible)),
            f"--backend-config=python,shm-region-prefix-name={server_id}_",
            *options.arguments,
        ),
        environment=_environment(runtime_paths(home.files, home.work_dir), gpus),
    )


def _model_flags(options: TritonOptions) -> list[str]:
    return [
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in options.load_at_start),
        *(
            ["--exit-on-error=false"] if options.load_at_start else []
        ),  # a load that fails is the agent's matter
        # Each python model then loads in 0.2 s with 4 threads instead of 1.7 s with 35.
        "--disable-auto-complete-config",
        "--backend-config=python,thread-pool-size=1",
        f"--model-load-thread-count={options.load_threads}",
        # Strict readiness means "no model is loading", which would take the shard away at every load.
        "--strict-readiness=false",
        f"--exit-timeout-secs={options.exit_timeout_s}",
    ]


def _endpoint_flags(ports: Ports, options: TritonOptions) -> list[str]:
    flags = [
        f"--http-address={HOST}",
        f"--http-port={ports.http}",
        f"--http-thread-count={options.http_threads}",
        f"--metrics-address={HOST}",
        f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false",  # they come from DCGM, which is not simulated
    ]
    if ports.grpc is not None:
        return [*flags, f"--grpc-address={HOST}", f"--grpc-port={ports.grpc}"]
    return [*flags, "--allow-grpc=false"]


def _memory_flags(options: TritonOptions, *, gpu_count: int) -> list[str]:
    pools = [f"--cuda-memory-pool-byte-size={gpu}:{options.pool_bytes}" for gpu in range(gpu_count)]
    # Pinned host memory speeds up copies to a device; there is none.
    return ["--pinned-memory-pool-byte-size=0", *pools]


def _environment(paths: Mapping[str, str], gpus: Mapping[str, str]) -> dict[str, str]:
    """Return a server's whole environment; without simulated GPUs it sees no GPU, not even a real one."""
    variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **gpus}
    for name, first in paths.items():
        rest = variables.get(name, "")
        variables[name] = f"{first}:{rest}" if rest else first
    return variables


def _get(port: int, path: str) -> bytes | None:
    """Return the body of a good answer, None for any other and for none."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        # An idle connection would hold up the server's exit.
        connection.close()


def _lost_a_port(server: TritonProcess) -> bool:
    return "already in use" in server.log_tail()
