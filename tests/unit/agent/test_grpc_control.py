"""The one message of Triton's gRPC that is written by hand, and what a closed port is."""

from __future__ import annotations

import socket

import pytest

from agent.errors import BrokenConnectionError, NoConnectionError
from agent.servers.grpc_control import GrpcControl, named


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m", b"\x12\x01m"), ("a" * 127, b"\x12\x7f" + b"a" * 127), ("a" * 200, b"\x12\xc8\x01" + b"a" * 200)],
)
def test_a_name_is_field_2_with_its_length_before_it(name: str, expected: bytes) -> None:
    assert named(name) == expected


def test_a_port_that_is_closed_is_no_connection_that_broke() -> None:
    pytest.importorskip("grpc")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoConnectionError) as met:
        GrpcControl(f"127.0.0.1:{port}").load("m", timeout_s=5.0)
    assert not isinstance(met.value, BrokenConnectionError)
