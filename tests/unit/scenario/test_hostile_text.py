"""Text that is meant to break something: without end, unprintable, or larger than any number."""

from __future__ import annotations

import io

import pytest

from planner.errors import InputError
from planner.scenario.documents import parse_document, parse_documents, path_text, stream_text
from planner.scenario.load import parse_scenario
from planner.scenario.plan_file import document_text, parse_plan, plan_document
from tests.support.builders import a_model, a_scenario
from tests.support.plans import a_plan, on

HEAD = "apiVersion: shardpack.dev/v1alpha1\nkind: Scenario\nmetadata: {name: a}\n"
SHARD_TYPE = "{use: aws-g4dn.xlarge, name: t4, %s}"


def complaint(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_scenario(text, file="s.yaml")
    return str(caught.value)


def of_shard_type(field: str) -> str:
    return complaint(f"{HEAD}spec:\n  models: []\n  shardTypes:\n    - {SHARD_TYPE % field}\n")


def test_no_more_is_read_than_is_allowed() -> None:
    stream = io.BytesIO(b"a" * 3_000_000)
    with pytest.raises(InputError, match=r"big: is larger than 1 MiB"):
        stream_text(stream, file="big", most_bytes=2**20)
    assert stream.tell() == 2**20 + 1


def test_what_only_nodes_can_tell_is_not_read_from_a_large_text() -> None:
    text = "a: &x 1\nb: *x\n" + "#" * 2**20
    assert parse_documents(text, file="big")[0].data == {"a": 1, "b": 1}
    with pytest.raises(InputError, match=r"big: is larger than 1 MiB and no plain YAML"):
        parse_documents(text, file="big", most_characters=2**20)
    with pytest.raises(InputError, match=r"big.json:1: the file is cut off"):
        parse_documents('{"a": [', file="big.json", most_characters=1)


def test_a_line_is_named_for_a_character_that_yaml_forbids() -> None:
    with pytest.raises(InputError, match=r"^x:2: is not YAML: U\+0001"):
        parse_document("a: 1\nb: \x01\n", file="x")


@pytest.mark.parametrize("name", ["a\x1b[31m\n", "", "\u202e"])
def test_a_field_name_that_cannot_be_printed_is_quoted(name: str) -> None:
    assert path_text(("spec", name)) == f"spec.{name!r}"


def test_a_field_name_without_end_is_cut() -> None:
    text = complaint(HEAD + f"spec: {{shardTypes: [], models: [], ? {'k' * 100_000} : 1}}\n")
    assert "unknown field 'kkk" in text
    assert len(text) < 1000


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("pricePerHour: " + "9" * 5000, "has 5,000 characters"),
        ("pricePerHour: 1e300", "no number that makes sense"),
        ("pricePerHour: 1000001", "expected at most 1,000,000 US dollars an hour"),
        ("minCount: 10001", "expected at most 10000"),
        ("resources: {cpu: " + "9" * 5000 + "}", "has 5,000 characters"),
        ("resources: {memory: '٣Gi'}", "is not a quantity"),
        ("nodeSelector: {a b: c}", "'a b' is not the key of a Kubernetes label"),
        ("nodeSelector: {a: 'b c'}", "'b c' is not the value of a Kubernetes label"),
        ("nodeSelector: {a: true}", "the value of a Kubernetes label, found the boolean true"),
        ('zone: "a\\e[31m"', "holds the character U+001B, which cannot be printed"),
    ],
)
def test_a_value_that_nobody_means_is_a_fault_and_no_crash(field: str, message: str) -> None:
    assert message in of_shard_type(field)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"apiVersion": "shardpack.dev/v1alpha1", "kind": "Plan", "x": ' + "9" * 5000 + "}", "is required"),
        ('{"apiVersion": "shardpack.dev/v1al', "the file is cut off"),
        ('{"apiVersion": "shardpack.dev/v1alpha1", "kind": ', "the file is cut off"),
        ('{"kind": "Plan",}', "is not valid JSON"),
        ('{"kind": "Plan"} x', "is not valid JSON: Extra data"),
    ],
)
def test_a_plan_that_is_no_whole_json_is_a_fault_and_no_crash(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_plan(text, file="plan.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{\n "kind": "Scenario"\n "spec": {}\n}',
            "s:3: is not valid JSON: Expecting ',' delimiter (column 2)",
        ),
        ('{"a": [1, 2}\n', "s:1: is not valid JSON: Expecting ',' delimiter (column 12)"),
        ('{"a": 1}\n{"b": 2', "s:2: is not valid JSON: Extra data (column 1)"),
        ('{"a": {\n  "b": [', "s:2: the file is cut off (column 9)"),
        ("{a: 1, b: [}", "s:1: is not valid YAML"),
        ("{a: 1, b: 'c", "s:1: is not valid YAML"),
        ("a: {b: [}", "s:1: is not valid YAML"),
    ],
)
def test_a_document_that_is_broken_is_told_so_in_the_words_of_its_language(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_document(text, file="s")
    assert str(caught.value).startswith(message)


def test_the_name_of_a_file_tells_its_language_too() -> None:
    for file, language in (("s.json", "JSON"), ("s.yaml", "YAML")):
        with pytest.raises(InputError, match=f"{file}:2: is not valid {language}"):
            parse_document("[1,\n 2 3}]", file=file)


def test_a_scenario_that_json_refuses_and_yaml_takes_is_read() -> None:
    assert parse_document("{'a': 1, b: [2,],}", file="s.json").data == {"a": 1, "b": [2]}


def test_json_that_holds_a_field_twice_and_more_is_answered_by_the_yaml_reader() -> None:
    (fault,) = parse_document('{"a": 1,\n "a": 2}', file="s.json").faults
    assert str(fault) == "s.json:2: a: the field stands twice"


def test_a_plan_brings_nothing_to_a_terminal_that_cannot_be_printed() -> None:
    scenario = a_scenario(a_model("a"))
    document = plan_document(a_plan(scenario, on("a")), scenario)
    document["bound"] = {"usdPerHour": 0, "method": "lp\x1b[31m"}
    with pytest.raises(InputError, match=r"bound.method: holds the character U\+001B"):
        parse_plan(document_text(document), file="plan.json")


def test_a_fault_of_a_node_names_the_device_and_its_line() -> None:
    text = complaint(
        HEAD
        + "spec:\n  models: []\n  shardTypes: [{use: aws-g4dn.xlarge, name: t4}]\n  nodes:\n    - name: a\n"
        + "      allocatable: {cpu: 1, memory: 1Gi}\n      devices:\n        - class: nvidia-t4\n"
        + "        - mig:\n            - class: nvidia-a100-80gb-1g.10gb\n"
        + "            - class: nvidia-a100-80gb-1g.10gb\n              foreign: 1Ti\n"
        + "        - {class: nvidia-t4, memory: 1Mi, reserved: 2Mi}\n"
    )
    assert text.splitlines() == [
        "s.yaml:15: spec.nodes[0].devices[1].mig[1].foreign: foreign (1Ti) is above the GPU's 9.62Gi",
        "s.yaml:16: spec.nodes[0].devices[2].reserved: reserved (2Mi) is above the GPU's 1Mi",
    ]
