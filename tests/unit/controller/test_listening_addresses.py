"""Where the controller and the webhook cannot listen, they say so."""

from __future__ import annotations

import socket

import pytest
from prometheus_client import CollectorRegistry

from planner.controller.serving import Endpoints, binding
from planner.errors import InputError


def endpoints(address: str, port: int) -> Endpoints:
    return Endpoints(address, port, registry=CollectorRegistry(), live=lambda: None, ready=lambda: None)


@pytest.mark.parametrize("address", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine_is_bad_input(address: str) -> None:
    with pytest.raises(InputError, match=f"cannot listen on {address} port 0: "):
        endpoints(address, 0)


def test_a_port_that_somebody_has_is_bad_input() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1 port {port}: "):
            endpoints("127.0.0.1", port)


def test_only_the_system_s_own_errors_are_of_the_address() -> None:
    with pytest.raises(ValueError, match="other"), binding("127.0.0.1", 0):
        raise ValueError("other")
