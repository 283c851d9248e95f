"""A cluster with a fleet: always the small server of our own, for pods are standing in for here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from planner.cluster import Kube, connect
from planner.cluster.resources import CONFIG_MAPS, NAMESPACES
from planner.errors import ShardpackError
from planner.rehearsal.build import build_native
from planner.rehearsal.triton_files import TritonHome, prepare_triton
from tests.support.api_server.server import ApiServer
from tests.support.memory_cluster import NAMESPACE, a_fleet_text, fleet_map


@dataclass(frozen=True, kw_only=True)
class Here:
    """A client, the namespace with the fleet, and the server with its troubles."""

    kube: Kube
    namespace: str
    server: ApiServer
    kubeconfig: Path


@pytest.fixture
def here(api_server: ApiServer, tmp_path: Path) -> Iterator[Here]:
    kubeconfig = api_server.kubeconfig(tmp_path, namespace=NAMESPACE)
    kube = connect(kubeconfig=kubeconfig)
    kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kube.create(CONFIG_MAPS, fleet_map(a_fleet_text()))
    yield Here(kube=kube, namespace=NAMESPACE, server=api_server, kubeconfig=kubeconfig)
    kube.close()


@pytest.fixture(scope="session")
def triton_home(tmp_path_factory: pytest.TempPathFactory) -> TritonHome:
    try:
        native = build_native(tmp_path_factory.mktemp("native"))
        return prepare_triton(tmp_path_factory.mktemp("triton"), native=native)
    except ShardpackError as error:
        pytest.skip(str(error))
