"""The webhook as it is shipped: under its own roles, asked by an API server over HTTPS."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner

from planner.cli.admitting import webhook as webhook_command
from planner.cli.app import cli
from planner.cluster import connect
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    NAMESPACES,
    SERVICES,
    TRAINED_MODELS,
)
from planner.controller.https import MAX_BODY_BYTES
from planner.controller.objects import Mode, Style
from planner.controller.webhook import PATH, Webhook, WebhookSettings
from planner.errors import ForbiddenError, InputError
from planner.manifests.options import ManifestOptions
from tests.support.controllers import all_loaded, documents, eventually
from tests.support.controllers import running as running_controllers
from tests.support.kubernetes_objects import core_faults
from tests.support.kustomizations import built, granted, of_kind
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
)
from tests.support.private_ca import make_ca
from tests.support.standing_in import Agents

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

GUIDE = Path(__file__).parents[3] / "docs" / "admission.md"
ACCOUNT = "shardpack-webhook"

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("no_elses_cluster"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl builds the kustomization"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl"),
]

FOLDERS: dict[Mode, str] = {"kserve": "webhook", "standalone": "webhook-standalone"}


def sh(command: str, *, folder: Path, kubeconfig: Path, code: int = 0) -> str:
    env = {**os.environ, "KUBECONFIG": str(kubeconfig), "KUBECACHEDIR": str(folder / "cache")}
    done = subprocess.run(
        ["bash", "-e", "-c", command], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@contextmanager
def installed(here: Here, folder: Path, mode: Mode = "kserve") -> Iterator[tuple[Webhook, set[Any]]]:
    """The webhook, installed by the guide's commands, and what it is allowed to do."""
    (folder / "overlay").mkdir()
    items = built(folder / "overlay", FOLDERS[mode], namespace=here.namespace)
    for item in items:
        if item["apiVersion"].startswith(("rbac.", "admissionregistration.")):
            here.kube.apply(here.kube.resource_of(item["apiVersion"], item["kind"]), item, force=True)
    for block in re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE):
        sh(block.replace("models", here.namespace), folder=folder, kubeconfig=here.kubeconfig)
    limited = connect(kubeconfig=here.account(ACCOUNT, folder))
    settings = WebhookSettings(
        namespace=here.namespace,
        certificate=folder / "tls.crt",
        key=folder / "tls.key",
        style=Style(mode=mode, options=ManifestOptions(gateway="nginx")),
        patience_s=60.0,  # a busy machine is no fault
        port=0,
        status_port=0,
    )
    _be_patient(here)
    _open_a_shard(here, mode)
    here.reset_counts()
    running = Webhook(limited, settings)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        eventually(lambda: _status(running, "/readyz") == 200, longest_s=200)  # the first run compiles
        _lead_to(here, running.https.port)
        yield running, granted(items)
    finally:
        running.stop()
        thread.join(30)
        limited.close()
        assert not thread.is_alive()


def _lead_to(here: Here, port: int) -> None:
    """Have the webhook's service mean a port of this machine."""
    if here.own is not None:
        here.own.webhooks.services[here.namespace, ACCOUNT] = port
        return
    metadata = {"name": ACCOUNT, "namespace": here.namespace}
    spec = {"type": "ExternalName", "externalName": "localhost"}
    here.kube.create(SERVICES, {"metadata": metadata, "spec": spec})
    kind = here.kube.resource_of("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
    path = "/webhooks/0/clientConfig/service/port"
    here.kube.patch(kind, "shardpack", [{"op": "replace", "path": path, "value": port}])

    def is_asked() -> bool:
        try:
            item = a_trained_model("giant", memory="99Gi", namespace=here.namespace)
            here.kube.create(TRAINED_MODELS, item, dry_run=True)
        except ForbiddenError:
            return True
        return False

    eventually(is_asked)  # a server hears of configurations a little later


def _failures(here: Here) -> list[str]:
    """Why the server passed over the webhook, if it says."""
    return [] if here.own is None else here.own.webhooks.failures


def _open_a_shard(here: Here, mode: Mode) -> None:
    """Create what a controller does for an empty group, and its documents."""
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(a_fleet_text(namespace=here.namespace)))
    Run(cluster, style=Style(mode=mode), namespace=here.namespace).settle()
    for resource in (INFERENCE_SERVICES, DEPLOYMENTS, CONFIG_MAPS):
        for item in cluster.of(resource.kind).values():
            if item["metadata"]["name"] != "fleet":
                metadata = {
                    key: value
                    for key, value in item["metadata"].items()
                    if key not in ("uid", "resourceVersion")
                }
                here.kube.create(resource, {**item, "metadata": metadata})


def _be_patient(here: Here) -> None:
    kind = here.kube.resource_of("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
    hooks = here.kube.get(kind, "shardpack")["webhooks"]
    here.kube.patch(kind, "shardpack", {"webhooks": [{**hooks[0], "timeoutSeconds": 30}]})


def _status(running: Webhook, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{running.endpoints.port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)


def announced(length: int, port: int, *, ca: Path) -> int:
    """The answer to a request whose head alone is sent."""
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    connection.putrequest("POST", PATH)
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("mode", FOLDERS)
def test_objects_are_valid_and_name_what_there_is(tmp_path: Path, mode: Mode) -> None:
    items = built(tmp_path, FOLDERS[mode], namespace=NAMESPACE)
    assert [fault for item in items for fault in core_faults(item)] == []
    pod = of_kind(items, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command, *arguments = container["args"]
    assert command == webhook_command.name
    params = webhook_command.make_context(command, arguments, parent=click.Context(click.Command("x"))).params
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (params["port"], params["metrics_port"]) == (ports["https"], ports["status"])
    assert (params["mode"], params["gateway"]) == (mode, "nginx")
    (mount,) = (one["mountPath"] for one in container["volumeMounts"] if one["name"] == "tls")
    assert (params["tls_cert"], params["tls_key"]) == (Path(mount, "tls.crt"), Path(mount, "tls.key"))
    (hook,) = of_kind(items, "ValidatingWebhookConfiguration")["webhooks"]
    service, asked = of_kind(items, "Service"), hook["clientConfig"]["service"]
    assert asked == {**asked, "name": service["metadata"]["name"], "namespace": NAMESPACE, "path": PATH}
    assert asked["port"] in [port["port"] for port in service["spec"]["ports"]]
    assert service["spec"]["ports"][0]["targetPort"] in ports
    settings = WebhookSettings(namespace="n", certificate=Path("c"), key=Path("k"))
    assert hook["timeoutSeconds"] > settings.patience_s
    labels = of_kind(items, "Deployment")["spec"]["template"]["metadata"]["labels"]
    for kind, field in (("Service", "selector"), ("PodDisruptionBudget", "selector")):
        wanted = of_kind(items, kind)["spec"][field]
        assert wanted.get("matchLabels", wanted).items() <= labels.items()


def test_models_are_judged_as_they_are_applied(here: Here, tmp_path: Path) -> None:
    def apply(name: str, memory: str, *options: str, code: int = 0) -> str:
        path = tmp_path / "model.yaml"
        path.write_text(yaml.safe_dump(a_trained_model(name, memory=memory, namespace=here.namespace)))
        command = f"kubectl apply --validate=false -f {path} {' '.join(options)}"
        return sh(command, folder=tmp_path, kubeconfig=here.kubeconfig, code=code)

    with installed(here, tmp_path) as (_, rules):
        assert here.used() in (rules, None)
        refused = apply("giant", "99Gi", code=1)
        assert 'webhook "trainedmodels.shardpack.dev" denied the request: model giant does not fit' in refused
        assert "nearest news: needs 99.2Gi, has 63.7Gi" in refused
        assert "replica 0 on news/0: needs 1Gi" in apply("small", "1Gi", "--dry-run=server")
        assert not here.kube.list(TRAINED_MODELS, namespace=here.namespace).items
        assert "Warning" not in apply("small", "1Gi")
        wide = a_trained_model("wide", says={"replicas": 2}, namespace=here.namespace)
        told: list[str] = []
        here.kube.adjusted(on_warning=told.append).create(TRAINED_MODELS, wide)
        assert "replica 1 on news-1/0, a new shard of type t4" in " ".join(told)
        assert "model small does not fit" in apply("small", "98Gi", code=1)
        touched = {"metadata": {"annotations": {"who": "else"}}, "spec": {"inferenceService": "news-1"}}
        here.kube.patch(TRAINED_MODELS, "small", touched, namespace=here.namespace)
        here.kube.patch(
            TRAINED_MODELS,
            "small",
            {"status": {"url": "http://x"}},
            namespace=here.namespace,
            subresource="status",
        )
        here.kube.delete(TRAINED_MODELS, "small", namespace=here.namespace)
        assert not _failures(here)
    assert "created" in apply("giant", "99Gi")  # nobody answers any more: it is let through
    assert here.own is None or _failures(here)


def test_it_judges_where_shards_are_deployments(here: Here, tmp_path: Path) -> None:
    with installed(here, tmp_path, "standalone") as (_, rules):
        assert here.used() in (rules, None)
        item = a_trained_model("giant", memory="99Gi", namespace=here.namespace)
        with pytest.raises(ForbiddenError, match="model giant does not fit"):
            here.kube.create(TRAINED_MODELS, item)


def test_a_controller_under_it_places_opens_and_moves(here: Here, tmp_path: Path) -> None:
    style = Style(options=ManifestOptions(gateway="nginx"))
    with ExitStack() as stack:
        webhook, _ = stack.enter_context(installed(here, tmp_path))
        reviews = webhook.metrics.reviews
        already = reviews.labels("refused")._value.get()
        stack.enter_context(Agents(here.kube, here.namespace))
        stack.enter_context(running_controllers(here.kube, here.namespace, style=style))
        for index in range(25):
            here.kube.create(TRAINED_MODELS, a_trained_model(f"m-{index:02}", namespace=here.namespace))
        eventually(lambda: all_loaded(here.kube, here.namespace, 25))
        grown = {"metadata": {"annotations": {"shardpack.dev/model": '{"replicas": 2}'}}}
        here.kube.patch(TRAINED_MODELS, "m-03", grown, namespace=here.namespace)
        with pytest.raises(ForbiddenError, match="does not fit"):
            here.kube.patch(TRAINED_MODELS, "m-04", _asking_for("99Gi"), namespace=here.namespace)
        eventually(lambda: len(documents(here.kube, here.namespace)["m-03"]) == 2)
        here.kube.delete(TRAINED_MODELS, "m-00", namespace=here.namespace)
        eventually(lambda: all_loaded(here.kube, here.namespace, 24))
        assert not _failures(here)
        assert reviews.labels("refused")._value.get() > already  # a real server asks again, of a fresh copy
        assert reviews.labels("unjudged")._value.get() == 0
        assert reviews.labels("passed")._value.get() >= 24  # what the controller wrote itself


def _asking_for(memory: str) -> dict[str, Any]:
    said = {"footprints": [{"class": "nvidia-t4", "gpuMemory": memory}]}
    return {"metadata": {"annotations": {"shardpack.dev/model": json.dumps(said)}}}


def test_other_namespaces_and_what_is_not_ours_pass(here: Here, tmp_path: Path) -> None:
    labels = {"shardpack.dev/admission": "enabled"}
    elsewhere = f"{here.namespace}-other"
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": elsewhere, "labels": labels}}
    with installed(here, tmp_path):
        here.kube.create(NAMESPACES, other)
        here.kube.create(TRAINED_MODELS, a_trained_model("giant", memory="99Gi", namespace=elsewhere))
        theirs = a_trained_model("theirs", memory="99Gi", parent="elsewhere", namespace=here.namespace)
        here.kube.create(TRAINED_MODELS, theirs)
        text = a_fleet_text(namespace=here.namespace).replace("group: news", "group: late")
        here.kube.create(CONFIG_MAPS, fleet_map(text, "late", namespace=here.namespace))
        late = a_trained_model("late", memory="99Gi", parent="late", namespace=here.namespace)

        def is_refused() -> bool:
            try:
                here.kube.create(TRAINED_MODELS, late)
            except ForbiddenError:
                return True
            here.kube.delete(TRAINED_MODELS, "late", namespace=here.namespace)
            return False

        eventually(is_refused)


def test_a_new_certificate_is_taken_and_bad_requests_are_refused(here: Here, tmp_path: Path) -> None:
    def post(body: bytes, path: str = PATH, *, ca: Path) -> int:
        context = ssl.create_default_context(cafile=str(ca))
        context.check_hostname = False
        request = urllib.request.Request(f"https://127.0.0.1:{running.https.port}{path}", data=body)
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return int(error.code)

    with installed(here, tmp_path) as (running, _):
        ca = tmp_path / "ca.crt"
        assert post(b"{}", ca=ca) == 400
        assert post(b"{}", "/elsewhere", ca=ca) == 404
        assert announced(MAX_BODY_BYTES + 1, running.https.port, ca=ca) == 413
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        lines = [
            line for line in GUIDE.read_text().splitlines() if line.startswith(("key=", "openssl", "echo"))
        ]
        sh("\n".join(lines), folder=fresh, kubeconfig=here.kubeconfig)
        for name in ("tls.key", "tls.crt"):
            (fresh / name).replace(tmp_path / name)
        assert post(b"{}", ca=fresh / "ca.crt") == 400
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            post(b"{}", ca=ca)
        assert _status(running, "/livez") == 200


def test_the_command_ends_by_a_signal_and_needs_a_certificate(here: Here, tmp_path: Path) -> None:
    made, asked = make_ca(tmp_path / "ca", "command"), here.server.troubles.requests
    base = [sys.executable, "-m", "planner.cli", "webhook", "--kubeconfig", str(here.kubeconfig), "--port=0"]
    command = [*base, "--metrics-port=0", f"--tls-key={made.key}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--tls-cert={made.certificate}"], cwd=GUIDE.parents[1], stderr=log
        )
        eventually(lambda: asked.total() >= 4)  # every kind was listed
        process.terminate()
        assert process.wait(60) == 0
    locked = tmp_path / "locked.key"
    protect = f"openssl ec -in {made.key} -aes256 -passout pass:secret -out {locked}"
    sh(protect, folder=tmp_path, kubeconfig=here.kubeconfig)
    for certificate, key in ((made.key, made.key), (made.certificate, locked)):
        arguments = [*base[3:], f"--tls-cert={certificate}", f"--tls-key={key}"]
        with pytest.raises(InputError, match="no certificate with its key"):
            CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False)
