"""Logging in as a pod does."""

from __future__ import annotations

from pathlib import Path

import pytest
from kubernetes.client import Configuration

from planner.cluster.connection import load_service_account
from planner.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name, text in (("token", "secret"), ("ca.crt", "certificate"), ("namespace", "models\n")):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_pod_logs_in_with_its_service_account(folder: Path) -> None:
    configuration = Configuration()
    assert load_service_account(configuration, folder) == "models"
    assert configuration.host == "https://10.0.0.1:443"
    assert configuration.ssl_ca_cert == str(folder / "ca.crt")
    assert configuration.get_api_key_with_prefix("BearerToken") == "bearer secret"


@pytest.mark.parametrize("missing", ["token", "ca.crt", "namespace"])
def test_a_part_that_is_missing_is_bad_input(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(InputError, match="the pod's service account"):
        load_service_account(Configuration(), folder)
