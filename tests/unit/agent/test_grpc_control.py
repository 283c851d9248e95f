"""The one message of Triton's gRPC that is written by hand."""

from __future__ import annotations

import pytest

from agent.servers.grpc_control import named


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m", b"\x12\x01m"), ("a" * 127, b"\x12\x7f" + b"a" * 127), ("a" * 200, b"\x12\xc8\x01" + b"a" * 200)],
)
def test_a_name_is_field_2_with_its_length_before_it(name: str, expected: bytes) -> None:
    assert named(name) == expected
