"""A shard's pod on this machine: a real Triton server, the agent beside it, and its volumes as folders.

It does what a kubelet would do with the manifests: volumes become folders, ConfigMaps become files in them,
a server that ended is started again. Ports differ from the manifests', because all pods share one host.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from planner.errors import ShardpackError
from planner.rehearsal.children import start_child
from planner.rehearsal.free_ports import free_port
from planner.rehearsal.manifest_reader import PodSpec
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome

_log = logging.getLogger(__name__)

_CALL_TIMEOUT_S = 5.0
_LOOK_S = 0.1
_GRPC = "--server-grpc-url"
_LOAD_ALL_TIMEOUT_S = 600.0
_FETCH_TIMEOUT_S = 600.0


@dataclass(slots=True, kw_only=True)
class Pod:
    """One running pod.

    Parameters
    ----------
    spec
        What its manifests say at present.
    folder
        Holds its volumes and logs.
    server
        The model server.
    agent
        The agent's process.
    gpus
        Environment of its simulated GPUs; empty for a shard without.
    began_s
        When it was begun to be brought to what its manifests say, on the monotonic clock.
    """

    spec: PodSpec
    folder: Path
    server: TritonProcess
    agent: subprocess.Popen[bytes]
    gpus: Mapping[str, str]
    began_s: float
    _pool: urllib3.PoolManager = field(default_factory=urllib3.PoolManager, repr=False)

    @property
    def status_url(self) -> str:
        """Base of the agent's endpoints."""
        return f"http://127.0.0.1:{_read_port(self.folder)}"

    def status(self) -> dict[str, Any]:
        """Return the agent's whole status, all its pages.

        Raises
        ------
        ShardpackError
            The agent does not answer.
        """
        document = page = self._get("/status")
        while page["continue"] is not None:
            page = self._get(f"/status?continue={page['continue']}")
            document["models"].update(page["models"])
        return document

    def unloaded(self) -> tuple[str, ...]:
        """Return the models that the server should hold and does not, each with its state and reason."""
        models = self.status()["models"]
        return tuple(
            f"{name}: {entry['state']} {entry['message'] or ''}".rstrip()
            for name, entry in sorted(models.items())
            if not serves_as_planned(entry)
        )

    def actions(self) -> Counter[tuple[str, str]]:
        """Return how often the agent did what, and what came of it, as its metrics tell.

        ``("load", "no room")`` are the loads that it did not ask for, as its log tells.

        Raises
        ------
        ShardpackError
            The agent does not answer.
        """
        samples = (
            sample
            for family in text_string_to_metric_families(self._read("/metrics").decode())
            for sample in family.samples
            if sample.name == "shardpack_agent_actions_total"
        )
        found = Counter({(one.labels["action"], one.labels["outcome"]): int(one.value) for one in samples})
        log = (self.folder / "agent.log").read_text(errors="replace")
        found["load", "no room"] = log.count("reason='NoRoom'")
        return found

    def _get(self, path: str) -> dict[str, Any]:
        try:
            return dict(json.loads(self._read(path)))
        except ValueError as error:
            raise ShardpackError(f"agent of {self.spec.shard} does not answer: {error}") from error

    def _read(self, path: str) -> bytes:
        try:
            url = self.status_url + path
            return self._pool.request("GET", url, timeout=_CALL_TIMEOUT_S, retries=False).data
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise ShardpackError(f"agent of {self.spec.shard} does not answer: {error}") from error

    def is_ready(self) -> bool:
        """Whether the readiness probe of the manifests would pass."""
        try:
            url = f"{self.status_url}/readyz"
            answer = self._pool.request("GET", url, timeout=_CALL_TIMEOUT_S, retries=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return False
        return answer.status == 200

    def mount(self, spec: PodSpec) -> None:
        """Show what the manifests say now, as a kubelet swaps a projected volume."""
        self.spec, self.began_s = spec, time.monotonic()
        _mount(self.folder, spec)

    def restart_dead(self) -> bool:
        """Start again what has ended, server or agent, as a kubelet does; returns whether anything had."""
        server_ended, agent_ended = self.server.exit_code is not None, self.agent.poll() is not None
        if server_ended:
            self.server.start()
            self.server.wait_live()
        if agent_ended:
            self.agent = _start_agent(self.spec, self.folder, self.server, self.gpus)
        return server_ended or agent_ended

    def stop(self) -> None:
        """End agent and server."""
        self.agent.terminate()
        try:
            self.agent.wait(10)
        except subprocess.TimeoutExpired:
            self.agent.kill()
            self.agent.wait()
        self._pool.clear()
        self.server.terminate()


def serves_as_planned(entry: Mapping[str, Any]) -> bool:
    """Whether a model is loaded as its document asks, not as one before it did. PURE."""
    return entry["state"] == "Loaded" and entry.get("reason") != "UpdateFailed"


def start_pod(
    spec: PodSpec,
    *,
    folder: Path,
    home: TritonHome,
    gpus: Mapping[str, str] | None,
    options: TritonOptions | None = None,
) -> Pod:
    """Let a shard's models be fetched, then start its server and its agent.

    Parameters
    ----------
    spec
        What the manifests say.
    folder
        For volumes and logs; made if it is absent.
    home
        The installed server.
    gpus
        Environment of the simulated GPUs with the shard's own devices visible; None is a shard without.
    options
        How the server is set up where the manifests do not say it.

    Raises
    ------
    ShardpackError
        Something did not start, or the models could not be fetched.
    """
    began_s = time.monotonic()
    options = server_options(spec.server_args, options or TritonOptions())
    _mount(folder, spec)
    repository = folder / "volumes" / _volume_path(spec, _argument(spec, "--model-dir"))
    repository.mkdir(parents=True, exist_ok=True)
    if spec.fetch_args is not None:
        _fetch(spec, spec.fetch_args, folder, gpus or {})
    server = start_triton(spec.shard, repository, home=home, gpus=gpus, options=options)
    try:
        agent = _start_agent(spec, folder, server, gpus or {})
    except BaseException:
        server.kill()
        raise
    return Pod(spec=spec, folder=folder, server=server, agent=agent, gpus=gpus or {}, began_s=began_s)


def server_options(arguments: Sequence[str], options: TritonOptions) -> TritonOptions:
    """Return a server's options with what its manifests say of loads, threads and memory pools."""
    values = dict(argument.removeprefix("--").split("=", 1) for argument in arguments if "=" in argument)
    if values.get("load-model") == "*":
        options = replace(options, load_at_start=("*",), live_timeout_s=_LOAD_ALL_TIMEOUT_S)
    if "cuda-memory-pool-byte-size" in values:  # of the last GPU: the manifests give all the same
        pool_bytes = int(values["cuda-memory-pool-byte-size"].partition(":")[2])
        options = replace(options, pool_bytes=pool_bytes)
    return replace(
        options,
        load_threads=int(values.get("model-load-thread-count", options.load_threads)),
        http_threads=int(values.get("http-thread-count", options.http_threads)),
    )


def wait_loaded(pods: Mapping[str, Pod], *, timeout_s: float) -> None:
    """Return when every pod is ready and holds exactly what its manifests ask for.

    Raises
    ------
    ShardpackError
        Not all did in time (what is missing is in the message), or an agent or a server ended.
    """
    deadline = time.monotonic() + timeout_s
    missing = dict(pods)
    while missing:
        missing = {name: pod for name, pod in missing.items() if not _holds_what_it_should(pod)}
        if missing and time.monotonic() > deadline:
            details = "\n".join(f"{name}: {line}" for name, pod in missing.items() for line in pod.unloaded())
            raise ShardpackError(f"after {timeout_s:g} s not every model was loaded:\n{details}")
        time.sleep(_LOOK_S)


def check_running(pod: Pod) -> None:
    """Return if a pod's server and agent run.

    Raises
    ------
    ShardpackError
        One of them has ended; the end of its log is in the message.
    """
    if pod.agent.poll() is not None:
        raise _ended(pod.spec.shard, pod.agent, pod.folder / "agent.log")
    if pod.server.exit_code is not None:
        raise ShardpackError(
            f"the server of {pod.spec.shard} ended with {pod.server.exit_code}:\n{pod.server.log_tail()}"
        )


def _holds_what_it_should(pod: Pod) -> bool:
    check_running(pod)
    if not pod.is_ready():
        return False
    try:
        return pod.status()["generation"] == wanted_generation(pod.spec) and not pod.unloaded()
    except ShardpackError:
        return False  # late on a busy machine; the deadline is the caller's


def wanted_generation(spec: PodSpec) -> str | None:
    """Return the generation that a pod's placement documents name; None if it has none."""
    for files in spec.files.values():
        for name, text in files.items():
            if name != "models.json":
                return str(json.loads(text)["generation"])
    return None


# ------------------------------------------------------------------------------------------------ small steps


def _wait(done: Callable[[], bool], what: str, *, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise ShardpackError(f"waited {timeout_s:g} s for {what}")
        time.sleep(_LOOK_S)


def _argument(spec: PodSpec, name: str) -> str:
    found = [value.partition("=")[2] for value in spec.agent_args if value.startswith(f"{name}=")]
    if not found:
        raise ShardpackError(f"the agent of {spec.shard} has no {name}")
    return found[-1]


def _volume_path(spec: PodSpec, container_path: str) -> Path:
    """Return where a path of the container lies, relative to the pod's volumes."""
    path = PurePosixPath(container_path)
    for mount, volume in spec.mounts.items():
        if path.is_relative_to(mount):
            return Path(volume) / path.relative_to(mount)
    raise ShardpackError(f"{container_path} of {spec.shard} is in no volume")


def _mount(folder: Path, spec: PodSpec) -> None:
    for volume, files in spec.files.items():
        mount_files(folder / "volumes" / volume, files)


def _local_argument(spec: PodSpec, folder: Path, argument: str) -> str:
    """Return an argument whose path, if it is one, is this machine's."""
    name, equals, value = argument.partition("=")
    if equals and value.startswith("/"):
        return f"{name}={folder / 'volumes' / _volume_path(spec, value)}"
    return argument


def _is_grpc(argument: str) -> bool:
    return argument.startswith(f"{_GRPC}=")


def _fetch(spec: PodSpec, arguments: tuple[str, ...], folder: Path, gpus: Mapping[str, str]) -> None:
    """Run what the manifests run before the server."""
    command = [
        *(sys.executable, "-m", "agent.cli"),
        *(_local_argument(spec, folder, argument) for argument in arguments),
        f"--component-port={free_port()}",  # nobody is there, as in a pod that has not begun
    ]
    fetch = start_child(command, log=folder / "fetch.log", environment=_agent_environment(gpus))
    _wait(lambda: fetch.poll() is not None, f"the models of {spec.shard}", timeout_s=_FETCH_TIMEOUT_S)
    if fetch.returncode != 0:
        raise _ended(spec.shard, fetch, folder / "fetch.log")


def _agent_environment(gpus: Mapping[str, str]) -> dict[str, str]:
    """Return the agent's environment: NVML is simulated for it as well; CUDA it does not use."""
    simulated = {name: value for name, value in gpus.items() if name != "LD_PRELOAD"}
    return {**os.environ, **(simulated or {"CUDA_VISIBLE_DEVICES": ""})}


def _start_agent(
    spec: PodSpec, folder: Path, server: TritonProcess, gpus: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the agent with the manifests' arguments; the last ones say what differs on a shared host."""
    (folder / "status-port").unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "agent.cli",
        *(_local_argument(spec, folder, argument) for argument in spec.agent_args if not _is_grpc(argument)),
        f"--component-port={server.ports.http}",
        *([] if server.ports.grpc is None else [f"{_GRPC}=127.0.0.1:{server.ports.grpc}"]),
        "--status-address=127.0.0.1",
        "--status-port=0",
        f"--status-port-file={folder / 'status-port'}",
        "--poll-period=0.5",
    ]
    agent = start_child(command, log=folder / "agent.log", environment=_agent_environment(gpus))
    try:
        _wait(
            lambda: (folder / "status-port").exists() or agent.poll() is not None,
            f"the agent of {spec.shard} to answer",
        )
    except BaseException:
        agent.kill()
        raise
    if agent.poll() is not None:
        raise _ended(spec.shard, agent, folder / "agent.log")
    return agent


def _ended(shard: str, agent: subprocess.Popen[bytes], log: Path) -> ShardpackError:
    tail = log.read_text(errors="replace")[-2000:]
    return ShardpackError(f"the agent of {shard} ended with {agent.returncode}:\n{tail}")


def _read_port(folder: Path) -> int:
    return int((folder / "status-port").read_text())
