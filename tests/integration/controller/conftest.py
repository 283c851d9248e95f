"""A cluster with a fleet: a small server of our own, or a real one (``--kubeconfig``, ``--kube-programs``).

Pods are standing in for in both: on a real one they are never scheduled, and their status says where their
agents listen on this machine. So that has to be a bare API server with KServe's definitions, or a cluster
without KServe's controllers.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from planner.cluster import Kube, connect
from planner.cluster.resources import (
    CONFIG_MAPS,
    INFERENCE_SERVICES,
    NAMESPACES,
    SERVICE_ACCOUNTS,
    TRAINED_MODELS,
)
from planner.errors import AlreadyExistsError, NotFoundError, ShardpackError
from planner.rehearsal.build import build_native
from planner.rehearsal.triton_files import TritonHome, prepare_triton
from tests.support.api_server.access import service_account
from tests.support.api_server.server import ApiServer
from tests.support.memory_cluster import NAMESPACE, a_fleet_text, fleet_map

NOT_FOR_A_REAL_ONE = "makes trouble with the server or counts what reaches it: not for a real one"
NOT_FOR_SOMEBODY_ELSES = "makes what lives in no namespace: not for the cluster of --kubeconfig"


@dataclass(frozen=True, kw_only=True)
class Here:
    """A client, the namespace with the fleet, and the server: None where it is a real one."""

    kube: Kube
    namespace: str
    own: ApiServer | None
    kubeconfig: Path

    @property
    def server(self) -> ApiServer:
        """The server of our own, with its troubles and its counts; without one the test is skipped."""
        if self.own is None:
            pytest.skip(NOT_FOR_A_REAL_ONE)
        return self.own

    def reset_counts(self) -> None:
        """Count what is asked from here, where the server counts."""
        if self.own is not None:
            self.own.troubles.reset_counts()

    def used(self) -> set[tuple[str, str, str]] | None:
        """Verb, API group and resource of what was asked; None where the server does not count."""
        if self.own is None:
            return None
        return {(deed.verb, deed.group, deed.resource) for deed in self.own.troubles.requests}

    def account(self, name: str, folder: Path) -> Path:
        """A kubeconfig, in a folder, of a service account of the namespace."""
        if self.own is not None:
            user = service_account(self.namespace, name)
            return self.own.kubeconfig(folder, user=user, namespace=self.namespace)
        metadata = {"name": name, "namespace": self.namespace}
        with suppress(AlreadyExistsError):
            self.kube.create(SERVICE_ACCOUNTS, {"metadata": metadata})
        tokens = dataclasses.replace(SERVICE_ACCOUNTS, plural=f"serviceaccounts/{name}/token")
        head = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": metadata}
        token = self.kube.create(tokens, {**head, "spec": {"audiences": None}})["status"]["token"]
        content = yaml.safe_load(self.kubeconfig.read_text())
        content["users"] = [{"name": name, "user": {"token": token}}]
        (context,) = content["contexts"]
        context["context"].update(user=name, namespace=self.namespace)
        path = folder / f"kubeconfig-{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path


@pytest.fixture
def own_server(real_kubeconfig: Path | None) -> None:
    """Skip the test where there is a real API server: before anything is made there."""
    if real_kubeconfig:
        pytest.skip(NOT_FOR_A_REAL_ONE)


@pytest.fixture
def no_elses_cluster(request: pytest.FixtureRequest) -> None:
    """Skip the test where ``--kubeconfig`` names a cluster: before anything is made there."""
    if request.config.getoption("--kubeconfig"):
        pytest.skip(NOT_FOR_SOMEBODY_ELSES)


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path, real_kubeconfig: Path | None) -> Iterator[Here]:
    given = real_kubeconfig
    own = None if given else request.getfixturevalue("api_server")
    namespace = NAMESPACE if own else f"shardpack-test-{secrets.token_hex(4)}"
    kubeconfig = given or own.kubeconfig(tmp_path, namespace=namespace)
    kube = connect(kubeconfig=kubeconfig)
    for resource in (TRAINED_MODELS, INFERENCE_SERVICES) if given else ():
        try:
            kube.list(resource, namespace="default")
        except NotFoundError as error:
            pytest.skip(f"the cluster of --kubeconfig has {error}")
    kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    kube.create(CONFIG_MAPS, fleet_map(a_fleet_text(namespace=namespace), namespace=namespace))
    yield Here(kube=kube, namespace=namespace, own=own, kubeconfig=kubeconfig)
    if given:
        _clean_up(kube, namespace)
    kube.close()


def _clean_up(kube: Kube, namespace: str) -> None:
    """Delete a namespace; nobody is there any more who would take finalizers off."""
    for item in kube.list(TRAINED_MODELS, namespace=namespace).items:
        kube.patch(
            TRAINED_MODELS,
            item["metadata"]["name"],
            {"metadata": {"finalizers": None}},
            namespace=namespace,
        )
    kube.delete(NAMESPACES, namespace)


@pytest.fixture(scope="session")
def triton_home(tmp_path_factory: pytest.TempPathFactory) -> TritonHome:
    try:
        native = build_native(tmp_path_factory.mktemp("native"))
        return prepare_triton(tmp_path_factory.mktemp("triton"), native=native)
    except ShardpackError as error:
        pytest.skip(str(error))
