"""Test inferences: zeros for every input that a model declares."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.servers.inference import zeros


def an_input(datatype: str, *shape: Any) -> dict[str, Any]:
    return {"name": "X", "datatype": datatype, "shape": list(shape)}


def test_tensors_are_written_as_json_with_free_dimensions_as_one() -> None:
    inputs = [an_input("FP32", -1, 2), an_input("BYTES", 1), an_input("BOOL", 2), an_input("INT64", -1)]
    request = zeros(inputs, binary=False)
    assert request is not None
    found = json.loads(request.body)["inputs"]
    assert [entry["shape"] for entry in found] == [[1, 2], [1], [2], [1]]
    assert [entry["data"] for entry in found] == [[0.0, 0.0], [""], [False, False], [0]]


@pytest.mark.parametrize(("datatype", "size"), [("FP16", 2), ("BYTES", 4), ("FP64", 8), ("BOOL", 1)])
def test_tensors_are_sent_as_bytes_behind_a_head(datatype: str, size: int) -> None:
    request = zeros([an_input(datatype, -1, 3)], binary=True)
    assert request is not None
    length = int(request.headers["Inference-Header-Content-Length"])
    head = json.loads(request.body[:length])
    assert head["inputs"][0]["parameters"] == {"binary_data_size": 3 * size}
    assert request.body[length:] == bytes(3 * size)


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [7],
        [{"name": "X"}],
        [an_input("COMPLEX", 1)],
        [an_input("FP32", "many")],
        [an_input("FP32", 4096, 4096)],
        [an_input("FP16", 1)],
    ],
)
def test_what_cannot_be_made_is_not_made(inputs: list[Any]) -> None:
    assert zeros(inputs, binary=False) is None
