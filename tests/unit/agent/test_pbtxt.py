from __future__ import annotations

import pytest

from agent.errors import PinError
from agent.pbtxt import minimal_config, read_config, top_level_fields

GROUP = "instance_group [ { kind: KIND_CPU count: 1 } ]"


def fields(text: str) -> list[str]:
    return [field.name for field in top_level_fields(text)]


def test_the_group_is_replaced_and_the_rest_keeps_its_bytes() -> None:
    text = (
        '# a model\nname: "old"\nplatform: "onnxruntime_onnx" # says "instance_group {"\n'
        "instance_group [\n  { count: 2 kind: KIND_GPU gpus: [0, 1] }\n]\n"
        "instance_group { count: 1 }\n"
        "input [ { name: \"x\" dims: [-1, 3] }, { name: 'it\\'s' } ]\nmax_batch_size: 8\n"
    )
    assert read_config(text).with_placement(name="new", instance_group=GROUP) == (
        f'name: "new"\n{GROUP}\n'
        '# a model\n\nplatform: "onnxruntime_onnx" # says "instance_group {"\n\n\n'
        "input [ { name: \"x\" dims: [-1, 3] }, { name: 'it\\'s' } ]\nmax_batch_size: 8\n"
    )


def test_nested_names_and_groups_are_left_alone() -> None:
    text = 'parameters { step [ { name: "a" instance_group: "b" } ] }'
    assert read_config(text).with_placement(name="m", instance_group=GROUP).endswith(text)


def test_an_ensemble_is_not_pinned() -> None:
    """Triton: instance group should not be specified for ensemble."""
    text = 'platform: "ensemble"\nensemble_scheduling { step [ { model_name: "a" } ] }\n'
    assert read_config(text).with_placement(name="m", instance_group=GROUP) == f'name: "m"\n{text}'


def test_without_a_pin_the_author_s_group_stays() -> None:
    text = "instance_group [ { count: 3 } ]"
    assert read_config(text).with_placement(name="m", instance_group=None) == f'name: "m"\n{text}'


def test_writing_twice_changes_nothing() -> None:
    once = read_config('backend: "sim"\n').with_placement(name="m", instance_group=GROUP)
    assert read_config(once).with_placement(name="m", instance_group=GROUP) == once


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("# only a comment", []),
        ("a: 1 b: 2", ["a", "b"]),
        ("a: 1, b: 2; c { }", ["a", "b", "c"]),
        ("a < b: 1 > c: true", ["a", "c"]),
        ('a: "x" \'y\' "z" b: -1.5e3', ["a", "b"]),
        ("a: [1, 2] b: { c: [ { } ] }", ["a", "b"]),
        ('a: "}" b: "\\"" c: "#"', ["a", "b", "c"]),
    ],
)
def test_fields_are_found(text: str, found: list[str]) -> None:
    assert fields(text) == found


@pytest.mark.parametrize(
    "text",
    ["a", "a:", "a 1", ": 1", "a { ", "a [ }", "}", 'a: "x', 'a: "x\ny"', "a: b: c", "a: $", "[ext.x]: 1"],
)
def test_what_is_not_text_format_is_refused(text: str) -> None:
    with pytest.raises(PinError) as caught:
        read_config(text).with_placement(name="m", instance_group=GROUP)
    assert caught.value.reason == "BadConfig"


def test_a_missing_config_needs_a_framework_that_tells_the_backend() -> None:
    assert minimal_config("ONNX") == 'backend: "onnxruntime"\n'
    with pytest.raises(PinError, match="'sklearn' does not tell the backend"):
        minimal_config("sklearn")


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ('backend: "python"', "python"),
        ("name: 'x' backend : 'vllm' ;", "vllm"),
        ('max_batch_size: 8\nplatform: "onnxruntime_onnx"', None),
        ('# backend: "python"\nparameters { key: "backend" value { string_value: "python" } }', None),
    ],
)
def test_the_text_of_a_field(text: str, backend: str | None) -> None:
    assert read_config(text).value("backend") == backend


PARAMETERS = (
    'parameters { key: "a" value { string_value: "1" } }\n'
    "parameters: {\n  key: 'gpu_device_ids'\n  value: { string_value: \"${gpu_device_ids}\" }\n}\n"
    'parameters [ { key: "b" value { string_value: "2" } }, { key: "c" value { string_value: "3" } } ]\n'
)


def test_a_parameter_is_read_and_replaced() -> None:
    config = read_config(f'backend: "tensorrtllm"\n{PARAMETERS}')
    assert [config.parameter(key) for key in ("a", "gpu_device_ids", "d")] == ["1", "${gpu_device_ids}", None]
    placed = config.with_placement(name="m", instance_group=None, parameters={"gpu_device_ids": "0,1"})
    found = read_config(placed)
    assert found.parameter("gpu_device_ids") == "0,1"
    assert found.parameter("a") == "1"
    assert "${" not in placed
    assert placed.count("parameters") == 3


def test_a_parameter_in_a_list_with_others_is_not_replaced() -> None:
    config = read_config(PARAMETERS)
    with pytest.raises(PinError, match="of its own") as caught:
        config.with_placement(name="m", instance_group=None, parameters={"b": "x"})
    assert caught.value.reason == "BadConfig"
