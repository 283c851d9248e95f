"""A real Kubernetes API server of a test run's own: etcd and kube-apiserver as processes on loopback.

The programs are looked for in a folder: ``etcd`` and ``kube-apiserver``, as setup-envtest unpacks
them; where ``kube-controller-manager`` lies beside them it runs too, so that garbage is collected and
namespaces end.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

import yaml

from planner.cluster import Kube, Resource, connect
from planner.cluster.resources import NAMESPACES
from planner.errors import ClusterError
from tests.support.api_server.kinds import OWN_DEFINITIONS, Catalogue, Kind, definitions_in
from tests.support.private_ca import make_ca

DEFINITIONS = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
)

_PATIENCE_S = 120.0


class RealApiServer:
    """The processes; a context manager that starts and stops them.

    Parameters
    ----------
    programs
        The folder with the programs.
    folder
        Where certificates, data and logs go.
    definitions
        A folder of custom resource definitions beside the tests' narrow ones, which they replace.
    """

    def __init__(self, programs: Path, folder: Path, *, definitions: Path | None = None) -> None:
        self._programs, self._folder, self._definitions = programs, folder, definitions
        self._ca = make_ca(folder / "serving", "kubernetes")
        self._accounts = make_ca(folder / "accounts", "accounts")
        self._port, self._etcd_port, self._peer_port = _free_ports(3)
        self._processes = ExitStack()
        self.etcd_url = f"http://127.0.0.1:{self._etcd_port}"
        self.kubeconfig = self._kubeconfig(secrets.token_hex(16))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._processes = stack
            self._start("etcd", self._etcd_options())
            self._start("kube-apiserver", self._server_options())
            kube = connect(kubeconfig=self.kubeconfig)
            stack.callback(kube.close)
            self._wait(kube)
            if (self._programs / "kube-controller-manager").exists():
                self._start("kube-controller-manager", self._manager_options())
            self._define(kube)
            self._processes = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def _start(self, program: str, options: dict[str, object]) -> None:
        log = self._processes.enter_context((self._folder / f"{program}.log").open("wb"))
        command = [str(self._programs / program), *(f"--{key}={value}" for key, value in options.items())]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        self._processes.callback(process.wait, 60)
        self._processes.callback(process.kill)  # asked to end, an API server waits for all watches

    def _etcd_options(self) -> dict[str, object]:
        peer = f"http://127.0.0.1:{self._peer_port}"
        return {
            "data-dir": self._folder / "etcd",
            "listen-client-urls": self.etcd_url,
            "advertise-client-urls": self.etcd_url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }

    def _server_options(self) -> dict[str, object]:
        return {
            "etcd-servers": self.etcd_url,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": self._port,
            "tls-cert-file": self._ca.certificate,
            "tls-private-key-file": self._ca.key,
            "token-auth-file": self._folder / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self._accounts.certificate,
            "service-account-signing-key-file": self._accounts.key,
            "service-cluster-ip-range": "10.0.0.0/16",
            "endpoint-reconciler-type": "none",
            "disable-admission-plugins": "ServiceAccount",  # nobody runs pods that would need their tokens
        }

    def _manager_options(self) -> dict[str, object]:
        return {
            "kubeconfig": self.kubeconfig,
            "controllers": "garbagecollector,namespace",
            "leader-elect": "false",
            "secure-port": 0,
        }

    def _kubeconfig(self, token: str) -> Path:
        (self._folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n", encoding="utf-8")
        server = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority": str(self._ca.ca)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        }
        path = self._folder / "kubeconfig.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    def _wait(self, kube: Kube) -> None:
        def is_there() -> bool:
            try:
                return bool(kube.get(NAMESPACES, "default"))
            except ClusterError:
                return False

        self._until(is_there, "the API server does not answer")

    def _define(self, kube: Kube) -> None:
        folders = (OWN_DEFINITIONS, *([self._definitions] if self._definitions else []))
        wanted = {item["metadata"]["name"]: item for folder in folders for item in definitions_in(folder)}
        for item in wanted.values():
            kube.apply(DEFINITIONS, item, force=True)
        for kind in Catalogue(self._definitions):
            if kind.custom:
                self._until(partial(_is_served, kube, kind), f"{kind.plural} are not served")

    def _until(self, check: Callable[[], bool], fault: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not check():
            log = (self._folder / "kube-apiserver.log").read_text(errors="replace")
            assert time.monotonic() < end, f"{fault}\n{log[-4000:]}"
            time.sleep(0.2)


def _is_served(kube: Kube, kind: Kind) -> bool:
    try:
        return bool(kube.resource_of(kind.api_version, kind.kind))
    except ClusterError:
        return False


def _free_ports(count: int) -> list[int]:
    """Ports that nobody had a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
