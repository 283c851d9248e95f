"""The test server in a process of its own does what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.cluster import connect
from planner.cluster.resources import CONFIG_MAPS
from planner.errors import ForbiddenError, UnavailableError
from tests.support.api_server.access import Deed, service_account
from tests.support.api_server.process import ApiServerProcess
from tests.support.api_server.troubles import Trouble


def test_it_serves_counts_makes_trouble_and_goes_down(tmp_path: Path) -> None:
    body = {"metadata": {"name": "a", "namespace": "default"}}
    with ApiServerProcess() as server:
        kube = connect(kubeconfig=server.kubeconfig(tmp_path))
        kube.create(CONFIG_MAPS, body)
        who, what = "kubernetes-admin", "configmaps"
        deed = Deed(verb="create", group="", resource=what, namespace="default", name="a", user=who)
        assert server.writes() == {deed: 1}
        server.add(Trouble(kind="answer", code=503, verbs=("get",)))
        with pytest.raises(UnavailableError, match="InternalError"):
            kube.get(CONFIG_MAPS, "a", namespace="default")
        server.clear()
        with server.down(), pytest.raises(UnavailableError, match="Unable to connect"):
            kube.get(CONFIG_MAPS, "a", namespace="default")
        assert kube.get(CONFIG_MAPS, "a", namespace="default")
        nobody = connect(kubeconfig=server.kubeconfig(tmp_path, user=service_account("default", "nobody")))
        with pytest.raises(ForbiddenError):
            nobody.get(CONFIG_MAPS, "a", namespace="default")
