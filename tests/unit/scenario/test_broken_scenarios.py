"""Scenarios with one thing wrong: its fault names path, line (marked HERE) and remedy."""

from __future__ import annotations

import pytest

from planner.errors import EXIT_INPUT, Fault, InputError
from planner.scenario.load import parse_scenario
from tests.support.broken_scenarios import BROKEN, SOUND, UNREADABLE, changed


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(InputError) as caught:
        parse_scenario(text, file="s.yaml")
    assert caught.value.exit_code == EXIT_INPUT
    return caught.value.faults


@pytest.mark.parametrize(("text", "path", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_fault_names_path_line_and_remedy(text: str, path: str, message: str) -> None:
    (fault,) = faults_of(text)
    assert fault.path == path
    assert message in fault.message
    assert fault.file == "s.yaml"
    assert fault.line == next(n for n, line in enumerate(text.splitlines(), 1) if "# HERE" in line)


def test_the_scenario_that_they_all_break_is_sound() -> None:
    assert parse_scenario(SOUND, file="s.yaml").models[0].name == "shoes"


@pytest.mark.parametrize(("text", "message", "line"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_text_that_is_no_scenario(text: str, message: str, line: int | None) -> None:
    (fault,) = faults_of(text)
    assert message in fault.message
    assert fault.line == line


def test_aliases_that_multiply_are_refused_before_they_are_expanded() -> None:
    anchors = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, after in zip("abcdefgh", "bcdefghi", strict=True):
        anchors.append(f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]")
    (fault,) = faults_of("\n".join(anchors))
    assert "its aliases expand" in fault.message


def test_every_fault_is_reported_in_document_order() -> None:
    text = changed("runtime: triton", "runtime: tritn").replace("backend: onnxruntime", "backend: onnx")
    text = text.replace("500Mi", "500Mx") + "  policy: {spread: nodes, quantile: p99, colour: red}\n"
    faults = faults_of(text)
    assert [fault.path for fault in faults] == [
        "spec.shardTypes[0].runtime",
        "spec.models[0].backend",
        "spec.models[0].footprints[0].gpuMemory",
        "spec.policy.quantile",
        "spec.policy.spread",
        "spec.policy.colour",
    ]
    assert [fault.line for fault in faults] == sorted(fault.line or 0 for fault in faults)


def test_what_is_wrong_inside_a_shard_type_does_not_make_references_to_it_wrong() -> None:
    text = (
        changed("      group: shop", "      group: shop\n      maxCount: many") + "      pin: {shard: shop}\n"
    )
    assert [fault.path for fault in faults_of(text)] == ["spec.shardTypes[0].maxCount"]


def test_json_faults_have_lines_too() -> None:
    text = (
        '{\n "apiVersion": "shardpack.dev/v1alpha1",\n "kind": "Scenario",\n "metadata": {"name": "x"},\n'
        ' "spec": {\n  "shardTypes": [],\n  "models": 3\n }\n}\n'
    )
    (fault,) = faults_of(text)
    assert (fault.path, fault.line) == ("spec.models", 7)
