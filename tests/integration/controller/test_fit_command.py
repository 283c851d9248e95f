"""``shardpack fit`` against a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from click.testing import CliRunner

from planner.cli.app import cli
from planner.cli.exitcodes import Outcome
from planner.cluster.resources import INFERENCE_SERVICES
from tests.support.memory_cluster import a_trained_model

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here


def test_some_fit_and_some_do_not(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    items = [
        a_trained_model(name, memory=memory, namespace=here.namespace)
        for name, memory in (("small", "1Gi"), ("huge", "99Gi"))
    ]
    path.write_text(yaml.safe_dump_all(items))
    command = ["fit", str(path), "--kubeconfig", str(here.kubeconfig), "-n", here.namespace]
    result = CliRunner().invoke(cli, command, standalone_mode=False)
    assert result.return_value is Outcome.REFUSED, result.output
    assert "small: fits\n  replica 0 on news/0: needs 1Gi of GPU memory" in result.stdout
    assert "huge: does not fit" in result.stdout
    listed = json.loads(CliRunner().invoke(cli, [*command, "-o", "json"], standalone_mode=False).stdout)
    assert [(item["model"], item["fits"]) for item in listed] == [("small", True), ("huge", False)]
    assert here.kube.list(INFERENCE_SERVICES, namespace=here.namespace).items == ()
