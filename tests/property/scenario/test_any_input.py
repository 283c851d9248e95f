"""Whatever the bytes, reading ends in a scenario or in faults: never in another error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from planner.errors import Fault, InputError
from planner.scenario.load import load_scenario, parse_scenario
from planner.scenario.plan_file import parse_plan

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1Gi", "3%", "*"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
PLACES = st.sampled_from(
    [
        ("metadata",),
        ("metadata", "name"),
        ("spec",),
        ("spec", "include"),
        ("spec", "catalog"),
        ("spec", "cluster", "maxIPs"),
        ("spec", "shardTypes"),
        ("spec", "shardTypes", 0),
        ("spec", "shardTypes", 0, "use"),
        ("spec", "shardTypes", 0, "devices"),
        ("spec", "nodes"),
        ("spec", "nodes", 0, "devices"),
        ("spec", "models"),
        ("spec", "models", 0, "footprints"),
        ("spec", "models", 0, "footprints", 0, "gpuMemory"),
        ("spec", "models", 0, "pin"),
        ("spec", "modelsFrom"),
        ("spec", "modelsFrom", 0, "generate"),
        ("spec", "modelsFrom", 0, "generate", "memory"),
        ("spec", "policy"),
        ("spec", "policy", "objective"),
    ]
)


def sound() -> dict[str, Any]:
    return {
        "apiVersion": "shardpack.dev/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": "any"},
        "spec": {
            "cluster": {},
            "shardTypes": [{"use": "aws-g4dn.xlarge", "provision": "new"}],
            "nodes": [{"name": "n", "allocatable": {"cpu": 1, "memory": 1}, "devices": []}],
            "models": [
                {
                    "name": "m",
                    "backend": "fil",
                    "storageUri": "s3://x/m",
                    "footprints": [{"class": "nvidia-t4", "gpuMemory": "1Gi"}],
                }
            ],
            "modelsFrom": [
                {
                    "generate": {
                        "prefix": "g",
                        "count": 3,
                        "backends": {"fil": 1},
                        "memory": "1Gi",
                        "footprints": [{"class": "cpu"}],
                    }
                }
            ],
            "policy": {},
        },
    }


def faults_of(text: str) -> tuple[Fault, ...]:
    """What is wrong with a scenario; empty if nothing is."""
    try:
        parse_scenario(text, file="any")
    except InputError as error:
        return error.faults
    return ()


@settings(max_examples=400)
@given(PLACES, VALUES)
@example(("spec", "models", 0, "footprints", 0, "gpuMemory"), float("inf"))
def test_any_value_at_any_place_is_read_or_refused(place: tuple[Any, ...], value: Any) -> None:
    document = sound()
    inner: Any = document
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    assert all(fault.message and fault.file == "any" for fault in faults_of(json.dumps(document)))


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_any_text_is_refused_with_a_fault(text: str) -> None:
    for read in (parse_scenario, parse_plan):
        with pytest.raises(InputError):
            read(text, file="any")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_scenario(path)
