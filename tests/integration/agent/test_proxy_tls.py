"""A real nginx before a server behind TLS: it speaks to whom the authorities vouch for."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

from agent.observed import Seen
from agent.proxy import Proxy, ProxySettings
from agent.status import Snapshot
from planner.rehearsal.free_ports import free_port
from tests.support.agent_models import copy, desired, row, target
from tests.support.agent_process import eventually
from tests.support.nginx import needs_nginx
from tests.support.private_ca import PrivateCa, has_openssl, make_ca

pytestmark = [
    needs_nginx,
    pytest.mark.skipif(not has_openssl(), reason="openssl is not installed (apt install openssl)"),
]
NAMES = {
    "named": "IP:127.0.0.1,DNS:models.example",
    "by its common name": "IP:127.0.0.1",
    "another": "DNS:other",
}


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PrivateCa]:
    folder = tmp_path_factory.mktemp("tls")
    return {name: make_ca(folder / name, name, names=names) for name, names in NAMES.items()}


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


class Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: nginx breaks off where it does not believe."""


class Beside:
    """A server behind TLS and a proxy, which believes what stands in ``ca``."""

    def __init__(self, folder: Path, made: PrivateCa, trusted: PrivateCa) -> None:
        self.server = Quiet(("127.0.0.1", 0), Answering)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.certificate, made.key)
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.ca = folder / "trusted.crt"
        shutil.copy(trusted.ca, self.ca)
        self.port = free_port()
        settings = ProxySettings(
            address="127.0.0.1",
            port=self.port,
            server_url=f"https://127.0.0.1:{self.server.server_address[1]}",
            server_ca=self.ca,
            folder=folder / "proxy",
            drain_s=1,
        )
        one = target()
        self.snapshot = Snapshot(
            desired=desired(one.model),
            document_fault=None,
            targets={"m": one},
            models={"m": Seen(installed=copy(), row=row("READY"))},
            running={},
            since={},
            observed_generation=None,
            ready=True,
            live=True,
            server=None,
            server_since=1.0,
        )
        self.proxy = Proxy(settings, lambda: self.snapshot)
        self.proxy.start()

    def status(self) -> int:
        url = f"http://127.0.0.1:{self.port}/v2/models/m/ready"
        return urllib3.request("GET", url, retries=False).status

    def end(self) -> None:
        self.proxy.stop()
        self.server.shutdown()
        self.server.server_close()


Start = Callable[[PrivateCa, PrivateCa], Beside]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[Beside] = []

    def begin(made: PrivateCa, trusted: PrivateCa) -> Beside:
        begun.append(Beside(tmp_path, made, trusted))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


@pytest.mark.parametrize("name", ["named", "by its common name"])
def test_a_server_that_is_vouched_for_is_asked(
    start: Start, authorities: dict[str, PrivateCa], name: str
) -> None:
    beside = start(authorities[name], authorities[name])
    eventually(lambda: beside.status() == 200, "it is asked")
    assert beside.proxy.fault is None


def test_one_that_another_authority_vouches_for_is_not_and_a_renewed_file_counts(
    start: Start, authorities: dict[str, PrivateCa]
) -> None:
    beside = start(authorities["named"], authorities["another"])
    eventually(lambda: beside.proxy.fault, "it says so")
    assert "certificate verify failed" in str(beside.proxy.fault).lower()
    assert beside.status() == 503
    shutil.copy(authorities["named"].ca, beside.ca)
    eventually(lambda: beside.status() == 200, "it is asked")
    eventually(lambda: beside.proxy.fault is None, "and the fault is gone")
    shutil.copy(authorities["another"].ca, beside.ca)
    beside.snapshot = replace(beside.snapshot, server_since=2.0)
    eventually(lambda: beside.proxy.fault, "it says so again")


def test_a_certificate_for_somebody_else_is_not_believed(
    start: Start, authorities: dict[str, PrivateCa]
) -> None:
    beside = start(authorities["another"], authorities["another"])
    eventually(lambda: beside.proxy.fault, "it says so")
    assert beside.status() == 503
