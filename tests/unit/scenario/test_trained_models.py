"""Models from TrainedModel objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.domain.model import Model
from planner.errors import InputError
from planner.scenario.load import load_scenario

MAIN = """\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {name: t}
spec:
  shardTypes: [{use: aws-g4dn.xlarge, name: t4, group: t4}]
  modelsFrom: [{trainedModels: tm/}]
"""

PLAIN = """\
apiVersion: serving.kserve.io/v1alpha1
kind: TrainedModel
metadata: {name: plain, labels: {team: news}, resourceVersion: "7"}
spec:
  inferenceService: news
  model: {storageUri: "s3://x/plain", framework: onnx, memory: 1Gi}
status: {url: "http://plain"}
"""

ANNOTATED = """\
apiVersion: serving.kserve.io/v1alpha1
kind: TrainedModel
metadata:
  name: annotated
  annotations:
    shardpack.dev/class: nvidia-t4
    shardpack.dev/gpu-memory: 600Mi
    shardpack.dev/gpu-memory-p50: 500Mi
    shardpack.dev/replicas: "2"
    shardpack.dev/pin-shard: t4-3
    shardpack.dev/probe: infer
    shardpack.dev/memory: 256Mi
    shardpack.dev/url: http://elsewhere
    other.example.com/replicas: many
spec:
  inferenceService: news
  model: {storageUri: "s3://x/a", framework: tensorrt, memory: 1Gi}
"""


def load(folder: Path, **files: str) -> tuple[Model, ...]:
    (folder / "main.yaml").write_text(MAIN, encoding="utf-8")
    (folder / "tm").mkdir()
    for name, text in files.items():
        (folder / "tm" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_scenario(folder / "main.yaml").models


def faults(folder: Path, **files: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(folder, **files)
    return [str(fault).split("tm/", 1)[-1] for fault in caught.value.faults]


def test_what_an_object_says_and_what_is_derived(tmp_path: Path) -> None:
    (model,) = load(tmp_path, a=PLAIN)
    assert (model.name, model.storage_uri, model.framework) == ("plain", "s3://x/plain", "onnx")
    assert model.backend == "onnxruntime"
    assert model.labels == (("team", "news"),)
    (option,) = model.footprints
    assert (option.device_class, option.memory_bytes.p95, option.source) == ("*", 2**30, "declared")


def test_labels_by_which_an_earlier_plan_is_known_are_none_of_the_model(tmp_path: Path) -> None:
    ours = "shardpack.dev/shard: news-1, app.kubernetes.io/managed-by: shardpack"
    (model,) = load(tmp_path, a=PLAIN.replace("team: news", f"team: news, {ours}"))
    assert model.labels == (("team", "news"),)


def test_who_else_manages_a_model_stays_its_label(tmp_path: Path) -> None:
    (model,) = load(tmp_path, a=PLAIN.replace("team: news", "app.kubernetes.io/managed-by: helm"))
    assert model.labels == (("app.kubernetes.io/managed-by", "helm"),)


def test_annotations_say_the_rest(tmp_path: Path) -> None:
    (model,) = load(tmp_path, a=ANNOTATED)
    assert (model.replicas, model.backend) == (2, "tensorrt")
    assert model.pin is not None
    assert model.pin.shard == "t4-3"
    assert model.probe == "infer"
    (option,) = model.footprints
    assert (option.device_class, option.memory_bytes.p95) == ("nvidia-t4", 2**28)
    assert (option.steady_bytes.p50, option.steady_bytes.p95) == (500 * 2**20, 600 * 2**20)


def test_a_file_may_hold_several_objects_and_other_kinds(tmp_path: Path) -> None:
    service = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: news}\n"
    found = load(tmp_path, a=f"{PLAIN}---\n{service}---\n{ANNOTATED}")
    assert [model.name for model in found] == ["annotated", "plain"]


def test_faults_name_the_field_or_the_annotation(tmp_path: Path) -> None:
    broken = (
        ANNOTATED.replace('"2"', '"two"').replace("600Mi", "600Mb").replace("gpu-memory-p50", "gpu-memry")
    )
    found = faults(
        tmp_path,
        a=broken,
        b=PLAIN.replace("1Gi", "much"),
        c=PLAIN.replace("framework: onnx, ", "").replace("name: plain", "name: c"),
        d=PLAIN.replace("onnx", "onx").replace("name: plain", "name: d"),
        e="hello: world\n",
    )
    assert [line.split(": ")[0] for line in found] == [
        "a.yaml:7",
        "a.yaml:8",
        "a.yaml:9",
        "b.yaml:6",
        "c.yaml:6",
        "d.yaml:6",
        "e.yaml:1",
    ]
    assert "metadata.annotations.shardpack.dev/gpu-memory: '600Mb' has the unknown suffix" in found[0]
    assert "did you mean shardpack.dev/gpu-memory" in found[1].replace("'", "")
    assert "shardpack.dev/replicas: expected a whole number, found the text 'two'" in found[2]
    assert "spec.model.memory: 'much' is not a quantity" in found[3]
    assert "spec.model.framework: is required" in found[4]
    assert "spec.model.framework: there is no backend 'onx'" in found[5]


def test_a_folder_without_objects_is_a_fault(tmp_path: Path) -> None:
    (message,) = faults(tmp_path)
    assert "holds no TrainedModel" in message


def test_a_missing_folder_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_text(MAIN, encoding="utf-8")
    with pytest.raises(
        InputError, match=r"main.yaml:6: spec.modelsFrom\[0\].trainedModels: there is no folder"
    ):
        load_scenario(tmp_path / "main.yaml")


def test_a_list_as_kubectl_writes_it_is_read_item_by_item(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- " + PLAIN.replace("\n", "\n  ")
    text += "\n- " + ANNOTATED.replace("\n", "\n  ").rstrip() + "\n"
    assert [model.name for model in load(tmp_path, all=text)] == ["annotated", "plain"]


def test_a_fault_in_a_list_has_its_own_path_and_line(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: TrainedModelList\nitems:\n- " + PLAIN.replace("\n", "\n  ").rstrip() + "\n"
    (message,) = faults(tmp_path, all=text.replace("1Gi", "much"))
    assert message.endswith(
        "all.yaml:9: items[0].spec.model.memory: 'much' is not a quantity: write a number "
        "with a suffix, as 16Gi, 500M, 250m or 2"
    )


@pytest.mark.parametrize("written", ["gpuMemory", "gpu_memory", "gpu-memroy"])
def test_an_annotation_that_nearly_has_its_name_is_a_fault(tmp_path: Path, written: str) -> None:
    (message,) = faults(
        tmp_path, a=ANNOTATED.replace("gpu-memory:", f"{written}:").replace("memory-p50", "x")
    )
    assert "did you mean 'shardpack.dev/gpu-memory'?" in message


def test_no_file_of_the_folder_leads_out_of_the_scenarios(tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(PLAIN, encoding="utf-8")
    inside = tmp_path / "inside"
    (inside / "tm").mkdir(parents=True)
    (inside / "main.yaml").write_text(MAIN, encoding="utf-8")
    (inside / "tm" / "a.yaml").symlink_to(outside)
    with pytest.raises(InputError, match=r"tm/a.yaml: leads out of the scenario's folder"):
        load_scenario(inside / "main.yaml")


def test_another_version_of_the_object_is_a_fault(tmp_path: Path) -> None:
    (message,) = faults(tmp_path, a=PLAIN.replace("v1alpha1", "v1"))
    assert "'serving.kserve.io/v1' is not one of serving.kserve.io/v1alpha1" in message


SAID = """\
apiVersion: serving.kserve.io/v1alpha1
kind: TrainedModel
metadata:
  name: said
  labels: {team: news}
  annotations:
    shardpack.dev/model: '{"replicas": 2, "footprints": [{"class": "nvidia-t4", "gpuMemory": "600Mi"}]}'
spec:
  inferenceService: news
  model: {storageUri: "s3://x/a", framework: onnx, memory: 1Gi}
"""


def test_the_annotation_that_the_controller_reads_is_read(tmp_path: Path) -> None:
    (model,) = load(tmp_path, a=SAID)
    assert (model.replicas, model.backend, model.labels) == (2, "onnxruntime", (("team", "news"),))
    (option,) = model.footprints
    assert (option.device_class, option.steady_bytes.p95) == ("nvidia-t4", 600 * 2**20)
    assert option.memory_bytes.p95 == 2**30


def test_it_wins_and_what_is_not_read_beside_it_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = SAID.replace("annotations:\n", 'annotations:\n    shardpack.dev/replicas: "5"\n')
    (model,) = load(tmp_path, a=both)
    assert model.replicas == 2
    (record,) = caplog.records
    assert "TrainedModel said: shardpack.dev/replicas: not read beside" in record.getMessage()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('"replicas": 2', '"replicas": "2"', "replicas: expected a whole number, found the text '2'"),
        ('"replicas": 2', '"name": "x"', "name is the object's own to say"),
        ("600Mi", "600Mb", "footprints[0].gpuMemory: '600Mb' has the unknown suffix"),
        ("nvidia-t4", "nvidia-t44", "footprints[0].class: there is no device class 'nvidia-t44'"),
        ('[{"class"', '{"x": [{"class"', "not JSON"),
    ],
)
def test_faults_in_it_are_told_at_it(tmp_path: Path, before: str, after: str, told: str) -> None:
    (line,) = faults(tmp_path, a=SAID.replace(before, after))
    assert line.startswith("a.yaml:7: ")
    assert f"metadata.annotations.shardpack.dev/model: {told}" in line
