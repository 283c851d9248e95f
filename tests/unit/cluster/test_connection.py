"""Logging in as a pod does, and by a kubeconfig."""

from __future__ import annotations

from pathlib import Path

import pytest
from kubernetes.client import Configuration

from planner.cluster.connection import connect, load_service_account
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


KUBECONFIG = """\
current-context: c
clusters: [{name: k, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: c, context: {cluster: k, user: u, namespace: models}}]
"""


EXEC = "exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}, interactiveMode: Never}}"


@pytest.mark.parametrize("user", ["", "user: u,", "user: open,"])
def test_a_context_without_a_user_and_a_user_without_credentials_are_taken_at_their_word(
    tmp_path: Path, user: str
) -> None:
    config = KUBECONFIG.replace("user: u,", user).replace("users: [", "users: [{name: open, user: {}}, ")
    (tmp_path / "config").write_text(config)
    connect(kubeconfig=tmp_path / "config").close()


def test_a_plugin_gives_the_credentials(tmp_path: Path) -> None:
    version = '"apiVersion": "client.authentication.k8s.io/v1"'
    answer = f'{{{version}, "kind": "ExecCredential", "status": {{"token": "t"}}}}'
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\necho '{answer}'\n")
    plugin.chmod(0o700)
    (tmp_path / "config").write_text(KUBECONFIG.replace("token: secret", EXEC.format(plugin)))
    connect(kubeconfig=tmp_path / "config").close()


def test_a_kubeconfig_says_which_server_and_which_namespace(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(KUBECONFIG)
    kube = connect(kubeconfig=tmp_path / "config")
    assert kube.namespace == "models"
    kube.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (KUBECONFIG, "", "file is empty"),
        (KUBECONFIG, "[1]", "is not a kubeconfig"),
        (KUBECONFIG, "hello", "is not a kubeconfig"),
        (KUBECONFIG, "\tclusters: []", "cannot start any token"),
        ('server: "https://127.0.0.1:6443"', "", "the server of the context is"),
        ('"https://127.0.0.1:6443"', "5", "is not a kubeconfig"),
        ("https://", "ftp://", "the server of the context is 'ftp://127.0.0.1:6443'; give one as https://"),
        ("127.0.0.1:6443", "127.0.0.1:99999", "the server of the context is"),
        ("127.0.0.1", "no host", "the server of the context is"),
        ("current-context: c", "current-context: d", "Expected object with name d"),
        ("user: u,", "user: nobody,", "context 'c': there is no user 'nobody'"),
        ("token: secret", EXEC.format("'false'"), "'false' is to give the credentials of 'u', and gave none"),
        ("token: secret", EXEC.format("no-such-program"), "'no-such-program' is to give"),
    ],
)
def test_a_kubeconfig_that_leads_nowhere_is_bad_input(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "config"
    file.write_text(KUBECONFIG.replace(old, new))
    with pytest.raises(InputError) as raised:
        connect(kubeconfig=file)
    assert str(raised.value).startswith(f"{file}: no cluster to talk to: ")
    assert said in str(raised.value)


def test_where_there_is_no_kubeconfig_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    with pytest.raises(InputError, match=f"{tmp_path}/a:{tmp_path}/b: there is no such kubeconfig; name one"):
        connect()
