"""A real Triton behind TLS with a private CA and a secret header: nginx in front of HTTP, its own gRPC."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.desired import DesiredModel
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.nginx import NGINX, needs_nginx
from tests.support.private_ca import PrivateCa, has_openssl, make_ca
from tests.support.triton_server import ready

pytestmark = [
    pytest.mark.triton,
    pytest.mark.skipif(
        not has_openssl(),
        reason="certificates are made by openssl, which is not installed (apt install openssl)",
    ),
]

SECRET = "open-sesame-4711"
CONFIG = """daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location / {{
      if ($http_x_model_admin != "{secret}") {{ return 401 '{{"error":"who are you?"}}'; }}
      proxy_pass {server};
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return make_ca(tmp_path_factory.mktemp("tls") / "right", "right")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return make_ca(tmp_path_factory.mktemp("tls") / "wrong", "wrong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """An agent, not started, before a server behind TLS; ``ca`` is the file that it trusts."""

    agent: AgentProcess
    server: TritonProcess
    ca: Path
    store: Path

    def place(self, *names: str) -> None:
        mount_files(self.agent.configs, documents(*map(self._model, names)))

    def _model(self, name: str) -> DesiredModel:
        """Return a model; the one named bad fails to load."""
        folder = self.store / name
        if not folder.exists():
            model_folder(folder, parameters={"fail": "no"} if name == "bad" else {})
        return wanted(name, storage_uri=folder.as_uri())


@pytest.fixture
def guarded(tmp_path: Path, server: TritonProcess, authority: PrivateCa, store: Path) -> Iterator[Guarded]:
    assert NGINX is not None
    folder = tmp_path / "nginx"
    folder.mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    (folder / "nginx.conf").write_text(
        CONFIG.format(
            folder=folder,
            port=port,
            certificate=authority.certificate,
            key=authority.key,
            secret=SECRET,
            server=server.http_url,
        )
    )
    nginx = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    ca = tmp_path / "trusted.crt"
    shutil.copy(authority.ca, ca)
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    agent = AgentProcess(folder=tmp_path, server_url=f"https://127.0.0.1:{port}")
    agent.arguments = (
        *("--server-ca", str(ca), "--server-header", f"x-model-admin=file:{tmp_path}/secret"),
        *("--log-level", "debug", "--probe", "infer"),
    )
    try:
        yield Guarded(agent=agent, server=server, ca=ca, store=store)
    finally:
        agent.kill()
        nginx.kill()
        nginx.wait()


def told(agent: AgentProcess) -> str:
    """Return everything that an agent says, and its command line."""
    command = Path(f"/proc/{agent.pid}/cmdline").read_text()
    return agent.log + command + "".join(agent.get(path)[1] for path in ("/status", "/metrics", "/readyz"))


@needs_nginx
def test_models_come_and_go_through_tls_and_the_secret_is_told_to_nobody(guarded: Guarded) -> None:
    guarded.place("good", "bad")
    guarded.agent.start()
    guarded.agent.wait_ready()
    assert guarded.agent.states() == {"good": "Loaded", "bad": "FailedToLoad"}
    assert ready(guarded.server) == {"good"}
    guarded.place("other")
    eventually(lambda: guarded.agent.states() == {"other": "Loaded"}, "changed")
    assert SECRET not in told(guarded.agent)


@needs_nginx
def test_a_server_that_another_authority_vouches_for_is_not_spoken_to(
    guarded: Guarded, authority: PrivateCa, other: PrivateCa
) -> None:
    shutil.copy(other.ca, guarded.ca)
    guarded.place("good")
    guarded.agent.start()
    eventually(lambda: "certificate verify failed" in guarded.agent.get("/readyz")[1].lower(), "it says why")
    assert guarded.agent.get("/readyz")[0] == 503
    assert guarded.agent.get("/livez")[0] == 200
    told_of = guarded.agent.status()["server"]
    assert told_of["live"] is False
    assert "certificate verify failed" in told_of["fault"].lower()
    assert guarded.agent.states() == {"good": "Pending"}
    assert guarded.agent.log.count("the server does not answer") == 1
    assert SECRET not in told(guarded.agent)
    shutil.copy(authority.ca, guarded.ca)
    eventually(lambda: guarded.agent.states() == {"good": "Loaded"}, "the right one was put there")
    assert guarded.agent.status()["server"]["fault"] is None


@needs_nginx
def test_a_wrong_secret_is_told_as_refused_and_a_renewed_one_is_used(
    guarded: Guarded, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("of yesterday")
    guarded.place("good")
    guarded.agent.start()
    eventually(lambda: "who are you?" in guarded.agent.get("/readyz")[1], "the server's words")
    assert guarded.agent.get("/livez")[0] == 200
    assert ready(guarded.server) == set()
    (tmp_path / "secret").write_text(SECRET)
    eventually(lambda: guarded.agent.states() == {"good": "Loaded"}, "renewed")
    assert "of yesterday" not in told(guarded.agent)
    assert SECRET not in told(guarded.agent)


@pytest.fixture
def over_grpcs(
    tmp_path: Path, triton_home: TritonHome, authority: PrivateCa, store: Path
) -> Iterator[Guarded]:
    """A server whose gRPC is TLS, its own."""
    pytest.importorskip("grpc", reason="grpcio is not installed (pip install shardpack[grpc])")
    (tmp_path / "models").mkdir()
    options = TritonOptions(
        arguments=(
            "--grpc-use-ssl=true",
            f"--grpc-server-cert={authority.certificate}",
            f"--grpc-server-key={authority.key}",
            f"--grpc-root-cert={authority.ca}",
        )
    )
    server = start_triton(tmp_path.name, tmp_path / "models", home=triton_home, options=options)
    ca = tmp_path / "trusted.crt"
    shutil.copy(authority.ca, ca)
    agent = AgentProcess(folder=tmp_path, server_url=server.http_url)
    agent.arguments = ("--server-ca", str(ca), "--server-grpc-url", f"grpcs://127.0.0.1:{server.ports.grpc}")
    try:
        yield Guarded(agent=agent, server=server, ca=ca, store=store)
    finally:
        agent.kill()
        server.kill()


def test_loads_go_over_grpc_with_tls(over_grpcs: Guarded) -> None:
    over_grpcs.place("good", "bad")
    over_grpcs.agent.start()
    over_grpcs.agent.wait_ready()
    assert over_grpcs.agent.states() == {"good": "Loaded", "bad": "FailedToLoad"}
    server = over_grpcs.agent.status()["server"]
    assert (server["control"], server["controlFault"]) == ("grpc", None)


def test_a_grpc_port_that_another_authority_vouches_for_is_not_used(
    over_grpcs: Guarded, other: PrivateCa
) -> None:
    shutil.copy(other.ca, over_grpcs.ca)
    over_grpcs.place("good")
    over_grpcs.agent.start()
    over_grpcs.agent.wait_ready()
    server = over_grpcs.agent.status()["server"]
    assert server["control"] == "http"
    assert "CERTIFICATE_VERIFY_FAILED" in server["controlFault"]
    assert over_grpcs.agent.states() == {"good": "Loaded"}
