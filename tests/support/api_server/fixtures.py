"""Fixtures: a cluster to test against, real where ``--kubeconfig`` names one; one to make trouble with."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from planner.cluster import Kube
    from tests.support.api_server.server import ApiServer

T = TypeVar("T")

_PATIENCE_S = 60.0
"""A busy machine is not a fault."""


@dataclass(frozen=True, kw_only=True)
class TestCluster:
    """A cluster, a namespace of one test in it, and a kubeconfig; nothing tells which server it is."""

    __test__ = False

    kube: Kube
    namespace: str
    kubeconfig: Path

    def need(self, api_version: str, kind: str) -> None:
        """Skip the test if the cluster does not know a kind."""
        from planner.errors import NotFoundError

        try:
            self.kube.resource_of(api_version, kind)
        except NotFoundError as error:
            pytest.skip(f"the cluster of --kubeconfig has {error}")


def eventually(look: Callable[[], T], *, timeout_s: float = _PATIENCE_S) -> T:
    """What a look finds, once it finds something; an AssertionError of a look counts as nothing."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = look()
            if found or time.monotonic() >= deadline:
                assert found, "it never came to that"
                return found
        except AssertionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.02)


@pytest.fixture(scope="session")
def real_kubeconfig(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path | None]:
    """The kubeconfig of a real API server, given or started of given programs; None without either."""
    from tests.support.real_api_server import RealApiServer

    option = request.config.getoption
    kubeconfig, programs, definitions = map(option, ("--kubeconfig", "--kube-programs", "--kserve-crds"))
    if kubeconfig or not programs:
        yield Path(kubeconfig) if kubeconfig else None
        return
    folder = tmp_path_factory.mktemp("real-api-server")
    with RealApiServer(
        Path(programs), folder, definitions=Path(definitions) if definitions else None
    ) as server:
        yield server.kubeconfig


@pytest.fixture
def api_server(request: pytest.FixtureRequest) -> Iterator[ApiServer]:
    """A server of our own, to make trouble with; it fails the test if it made mistakes itself."""
    from tests.support.api_server.server import ApiServer

    given = request.config.getoption("--kserve-crds")
    with ApiServer(definitions=Path(given) if given else None, bookmark_s=0.2) as server:
        yield server
    assert not server.mistakes, "\n".join(server.mistakes)


@pytest.fixture
def cluster(
    request: pytest.FixtureRequest, tmp_path: Path, real_kubeconfig: Path | None
) -> Iterator[TestCluster]:
    """A real API server where there is one, or a server of our own; with a new namespace in it."""
    from planner.cluster import connect
    from planner.cluster.resources import NAMESPACES

    kubeconfig = real_kubeconfig or request.getfixturevalue("api_server").kubeconfig(tmp_path)
    kube = connect(kubeconfig=kubeconfig)
    name = f"shardpack-test-{secrets.token_hex(4)}"
    kube.create(NAMESPACES, {"metadata": {"name": name}})
    yield TestCluster(kube=kube, namespace=name, kubeconfig=kubeconfig)
    kube.delete(NAMESPACES, name)
    kube.close()
