"""Triton repositories: what configs say, what files weigh, and who lives together."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.scenario.foreign.collect import Given, Imported
from planner.scenario.foreign.ensembles import cycles, together
from planner.scenario.foreign.model_config import InstanceGroup, ModelConfig, parse_config
from planner.scenario.foreign.read import read_foreign
from planner.scenario.foreign.text_proto import TextProtoError, parse_text_proto


def a_model(root: Path, name: str, config: str | None = 'backend: "onnxruntime"', **versions: int) -> Path:
    """Write a model: ``v1=100`` is a version 1 with a file of 100 bytes."""
    folder = root / name
    folder.mkdir(parents=True)
    if config is not None:
        (folder / "config.pbtxt").write_text(config)
    for version, size in (versions or {"v1": 1000}).items():
        (folder / version[1:]).mkdir()
        (folder / version[1:] / "model.onnx").write_bytes(b"w" * size)
    return folder


def an_ensemble(*steps: str) -> str:
    body = ", ".join(f'{{ model_name: "{step}" model_version: -1 }}' for step in steps)
    return f'platform: "ensemble"\nensemble_scheduling {{ step [ {body} ] }}'


def read(root: Path, **given: object) -> Imported:
    return read_foreign("triton", [str(root)], given=Given(**given))  # type: ignore[arg-type]


def told(root: Path) -> list[str]:
    return [note.message for note in read(root).notes]


def fault_texts(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(root)
    return [str(fault).removeprefix(f"{root}/") for fault in caught.value.faults]


# --------------------------------------------------------------------------------------------- text format


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ('a: "x"', {"a": ["x"]}),
        ("a: 'it''s'", {"a": ["its"]}),
        ('a: "one" "two"  # said twice\n', {"a": ["onetwo"]}),
        ('a: "\\n\\303\\244"', {"a": ["\n\xc3\xa4"]}),
        ("a: 1 a: 2", {"a": ["1", "2"]}),
        ("a: [1, 2], b: -3;", {"a": ["1", "2"], "b": ["-3"]}),
        ("a []", {"a": []}),
        ("a [ {b: 1}, <b: 2> ]", {"a": [{"b": ["1"]}, {"b": ["2"]}]}),
        ("a { b { c: KIND_GPU } }", {"a": [{"b": [{"c": ["KIND_GPU"]}]}]}),
    ],
)
def test_text_format_is_read(text, expected):
    assert parse_text_proto(text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a", 1),
        ("a:", 1),
        ("a: 1\nb {", 2),
        ("a: [1 2]", 1),
        ("\n\n}", 3),
        ("a: [1,", 1),
        ('a: "open', 1),
        ("a: 1\n\n\x01", 3),
        (": 1", 1),
        ("a {" * 100_000, 1),
        ("a [" * 100_000, 1),
    ],
)
def test_what_is_no_text_format_is_told_with_its_line(text, line):
    with pytest.raises(TextProtoError) as caught:
        parse_text_proto(text)
    assert caught.value.line == line


# -------------------------------------------------------------------------------------------------- configs


def test_the_fields_that_placing_needs_are_read():
    text = """
    name: "m" platform: "tensorrt_plan" max_batch_size: 16
    instance_group [ { count: 2 kind: KIND_GPU gpus: [0, 1] }, { kind: KIND_CPU passive: true } ]
    instance_group { kind: 2 }
    version_policy: { specific { versions: [1, 3] } }
    """
    assert parse_config(text, file="f") == ModelConfig(
        name="m",
        backend="tensorrt",
        max_batch=16,
        groups=(
            InstanceGroup(kind="KIND_GPU", count=2, gpus=(0, 1)),
            InstanceGroup(kind="KIND_CPU", count=1, gpus=()),
        ),
        versions=(1, 3),
    )


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", 1),
        ("latest { num_versions: 3 }", 3),
        ("latest {}", 1),
        ("all {}", None),
        ("specific { versions: 4 }", (4,)),
    ],
)
def test_the_version_policy_is_read(policy, versions):
    assert parse_config(f"version_policy {{ {policy} }}", file="f").versions == versions


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("max_batch_size: many", "max_batch_size"),
        ("max_batch_size: -1", "max_batch_size"),
        ("max_batch_size: 99999999999", "max_batch_size"),
        ("max_batch_size { }", "max_batch_size"),
        ("name { }", "name"),
        ('instance_group: "gpu"', "instance_group"),
        ("instance_group { kind: KIND_TPU }", "instance_group[0].kind"),
        ("instance_group [ {}, { gpus: one } ]", "instance_group[1].gpus"),
        ("ensemble_scheduling: 1", "ensemble_scheduling"),
    ],
)
def test_values_of_the_wrong_type_are_told_at_their_field(text, path):
    with pytest.raises(InputError) as caught:
        parse_config(text, file="f")
    assert [fault.path for fault in caught.value.faults] == [path]


# ---------------------------------------------------------------------------------------------- footprints


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("instance_group { kind: KIND_GPU count: 3 }", [("*", 3000, 3000)]),
        ("instance_group { kind: KIND_CPU count: 2 }", [("*", 0, 2000)]),
        ("", [("*", 1000, 1000), ("cpu", 0, 1000)]),
        ("instance_group { kind: KIND_MODEL }", [("*", 1000, 1000)]),
    ],
)
def test_instances_and_kinds_make_footprints(tmp_path, groups, expected):
    a_model(tmp_path, "m", f'backend: "onnxruntime" max_batch_size: 4 {groups}')
    (model,) = read(tmp_path).models
    found = [(o.device_class, o.steady_bytes.p95, o.memory_bytes.p95) for o in model.footprints]
    assert found == expected
    assert {(option.batch, option.source) for option in model.footprints} == {(4, "estimated")}


@pytest.mark.parametrize(
    ("policy", "loaded"),
    [("", 300), ("latest { num_versions: 2 }", 500), ("all {}", 600), ("specific { versions: [1, 9] }", 100)],
)
def test_versions_that_are_loaded_take_memory_and_all_take_disk(tmp_path, policy, loaded):
    a_model(tmp_path, "m", f'backend: "onnxruntime" version_policy {{ {policy} }}', v1=100, v2=200, v10=300)
    ((option, _),) = (model.footprints for model in read(tmp_path).models)
    config = (tmp_path / "m" / "config.pbtxt").stat().st_size
    assert (option.memory_bytes.p95, option.disk_bytes.p95) == (loaded, 600 + config)


def test_a_model_without_a_config_is_told_by_its_file(tmp_path):
    a_model(tmp_path, "m", None)
    (model,) = read(tmp_path).models
    assert model.backend == "onnxruntime"


def test_links_are_followed_once(tmp_path):
    folder = a_model(tmp_path / "repository", "m", v1=10)
    (tmp_path / "weights").write_bytes(b"w" * 500)
    (folder / "1" / "model.bin").symlink_to(tmp_path / "weights")
    (folder / "1" / "again").symlink_to(folder)
    ((option, _),) = (model.footprints for model in read(tmp_path / "repository").models)
    assert option.memory_bytes.p95 == 510 + (folder / "config.pbtxt").stat().st_size
    (folder / "1" / "gone").symlink_to(tmp_path / "nowhere")
    assert "cannot be read" in fault_texts(tmp_path / "repository")[0]


def test_addresses_are_those_of_the_folders_or_of_a_place_that_is_given(tmp_path):
    folder = a_model(tmp_path, "some_model")
    (model,) = read(tmp_path).models
    assert (model.name, model.storage_uri) == ("some-model", folder.as_uri())
    assert dict(model.labels) == {"imported-name": "some_model"}
    (model,) = read(tmp_path, storage={"": "s3://b/r/"}).models
    assert model.storage_uri == "s3://b/r/some_model"


# ---------------------------------------------------------------------------------------------- ensembles


def test_an_ensemble_lives_with_its_steps(tmp_path):
    for name in ("a", "b", "c", "alone"):
        a_model(tmp_path, name)
    a_model(tmp_path, "one", an_ensemble("a", "b"))
    a_model(tmp_path, "two", an_ensemble("b", "inner"))
    a_model(tmp_path, "inner", an_ensemble("c"))
    found = {model.name: model.together for model in read(tmp_path).models}
    assert found == {**dict.fromkeys(("a", "b", "c", "one", "two", "inner"), "inner"), "alone": None}


def test_ensembles_that_call_themselves_are_told(tmp_path):
    a_model(tmp_path, "self", an_ensemble("self"))
    a_model(tmp_path, "x", an_ensemble("y"))
    a_model(tmp_path, "y", an_ensemble("x"))
    assert fault_texts(tmp_path) == [
        "self/config.pbtxt: ensemble_scheduling: calls itself: self -> self",
        "x/config.pbtxt: ensemble_scheduling: calls itself: x -> y -> x",
    ]


def test_long_chains_of_ensembles_are_walked():
    calls = {f"e{number}": (f"e{number + 1}",) for number in range(20_000)}
    assert list(cycles(calls)) == []
    assert set(together(calls).values()) == {"e0"}


def test_steps_that_are_missing_or_renamed_are_told(tmp_path):
    a_model(tmp_path, "a_b")
    a_model(tmp_path, "e", an_ensemble("a_b", "gone"))
    assert [text for text in told(tmp_path) if "step" in text] == [
        "its step 'a_b' has another name now: write that into the config",
        "its step 'gone' is in no repository given",
    ]


# ------------------------------------------------------------------------------------------------- faults


def test_every_fault_of_a_repository_is_told(tmp_path):
    a_model(tmp_path, "misnamed", 'name: "other" backend: "onnxruntime"')
    a_model(tmp_path, "broken", "max_batch_size: 1\nbackend {")
    a_model(tmp_path, "empty", 'platform: "ensemble"')
    a_model(tmp_path, "nobody", "").joinpath("1", "model.onnx").rename(
        tmp_path / "nobody" / "1" / "weights.bin"
    )
    a_model(tmp_path, "A-b")
    a_model(tmp_path, "a_b")
    found = fault_texts(tmp_path)
    assert len(found) == 5
    for start in (
        "broken/config.pbtxt:2: is no model configuration",
        "empty/config.pbtxt: backend: an ensemble needs steps",
        "misnamed/config.pbtxt: name: 'other' is not the name of its folder",
        "nobody/config.pbtxt: backend: nothing tells its backend",
        "a_b/config.pbtxt: name: 'a-b' is already the name of a model",
    ):
        assert any(text.startswith(start) for text in found), (start, found)


def test_what_is_no_repository_is_told(tmp_path):
    model = a_model(tmp_path / "r", "m")
    for path, message in (
        (tmp_path / "gone", "no such folder"),
        (model, "is a model"),
        (model / "1", "holds no model"),
    ):
        with pytest.raises(InputError, match=message):
            read(path)


def test_folders_that_are_no_models_are_told(tmp_path):
    a_model(tmp_path, "m")
    (tmp_path / "docs").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").write_text("x")
    assert told(tmp_path) == ["has neither config.pbtxt nor a version: not a model"]


def test_two_repositories_are_one(tmp_path):
    a_model(tmp_path / "r", "step")
    a_model(tmp_path / "s", "e", an_ensemble("step"))
    paths = [str(tmp_path / name) for name in ("r", "s")]
    assert {model.together for model in read_foreign("triton", paths).models} == {"e"}
    a_model(tmp_path / "s", "step")
    with pytest.raises(InputError, match=r"is in .*/r as well"):
        read_foreign("triton", paths)
