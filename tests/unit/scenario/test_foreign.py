"""Models of other systems' objects: what is taken, what is told, and what is refused."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner.domain.model import Model
from planner.errors import InputError
from planner.scenario.foreign.collect import Given, Imported, scenario_name
from planner.scenario.foreign.document import document_text, imported_document
from planner.scenario.foreign.read import KINDS, Kind, read_foreign
from planner.scenario.load import parse_scenario

MESH = {"serving.kserve.io/deploymentMode": "ModelMesh"}


def read(kind: Kind, *objects: Any, given: Given | None = None) -> Imported:
    """Read objects from stdin."""
    text = yaml.safe_dump_all(objects).encode()
    return read_foreign(kind, ["-"], given=given, stdin=io.BytesIO(text))


def faults(kind: Kind, *objects: Any, given: Given | None = None) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        read(kind, *objects, given=given)
    return {fault.path: fault.message for fault in caught.value.faults}


def notes(imported: Imported) -> dict[str, str]:
    return {note.path: note.message for note in imported.notes}


def the_model(imported: Imported) -> Model:
    (model,) = imported.models
    return model


def a_trained_model(name: str = "m", **model: Any) -> dict[str, Any]:
    spec = {"storageUri": "s3://b/m", "framework": "onnx", "memory": "1Gi", **model}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "TrainedModel",
        "metadata": {"name": name},
        "spec": {"inferenceService": "p", "model": spec},
    }


def a_service(
    name: str = "m", *, annotations: Any = None, more: Any = None, **predictor: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"predictor": predictor, **(more or {})},
    }


def a_seldon_model(name: str = "m", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "mlops.seldon.io/v1alpha1",
        "kind": "Model",
        "metadata": {"name": name},
        "spec": {"storageUri": "s3://b/m", "requirements": ["sklearn"], "memory": "1Mi", **spec},
    }


# ---------------------------------------------------------------------------------------------------- KServe


def test_a_trained_model_is_a_model():
    model = the_model(read("kserve", a_trained_model()))
    assert (model.name, model.backend, model.framework, model.storage_uri) == (
        "m",
        "onnxruntime",
        "onnx",
        "s3://b/m",
    )


@pytest.mark.parametrize(
    ("predictor", "backend", "framework"),
    [
        ({"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://b"}}, "sklearn", "sklearn"),
        (
            {
                "model": {
                    "modelFormat": {"name": "xgboost"},
                    "runtime": "kserve-tritonserver",
                    "storageUri": "s3://b",
                }
            },
            "fil",
            "xgboost",
        ),
        ({"pytorch": {"storageUri": "s3://b"}}, "pytorch", "pytorch"),
        (
            {"model": {"modelFormat": {"name": "openvino_ir"}, "storageUri": "s3://b"}},
            "openvino",
            "openvino_ir",
        ),
    ],
)
def test_a_service_with_files_is_a_model(predictor, backend, framework):
    model = the_model(read("kserve", a_service(**predictor)))
    assert (model.backend, model.framework) == (backend, framework)


def test_a_repository_of_tritons_is_told():
    found = read("kserve", a_service(triton={"storageUri": "s3://b"}))
    assert "shardpack import triton" in notes(found)["spec.predictor.triton"]


@pytest.mark.parametrize(
    ("model_format", "runtime"), [("sklearn", "sklearn"), ("triton", "triton"), ("pmml", None)]
)
def test_the_server_of_a_shard_is_told_by_its_format(model_format, runtime):
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}}
    service = a_service("p", model={"modelFormat": {"name": model_format}, "resources": resources})
    found = read("kserve", service, a_trained_model())
    assert [item["runtime"] for item in found.shard_types] == ([] if runtime is None else [runtime])


def test_gpus_of_its_own_are_taken_whole_and_told():
    resources = {"limits": {"nvidia.com/gpu": "1", "memory": "2Gi"}}
    found = read("kserve", a_service(triton={"storageUri": "s3://b", "resources": resources}))
    (option,) = the_model(found).footprints
    assert (option.device_milli.p95, option.memory_bytes.p95) == (1000, 2 * 2**30)
    assert "whole GPUs" in notes(found)["spec.predictor.triton.resources"]


@pytest.mark.parametrize(
    ("selector", "resources", "device_class"),
    [
        ({}, {"requests": {"cpu": "1", "memory": "1Gi"}}, "cpu"),
        (
            {"nvidia.com/gpu.product": "NVIDIA-L4"},
            {"limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": 2}},
            "nvidia-l4",
        ),
        (
            {"nvidia.com/gpu.product": "NVIDIA-A30"},
            {"limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/mig-1g.6gb": "1"}},
            "nvidia-a30-1g.6gb",
        ),
    ],
)
def test_a_service_without_files_is_a_shard_type(selector, resources, device_class):
    service = a_service("p", triton={"resources": resources}, nodeSelector=selector)
    found = read("kserve", service, a_trained_model())
    (shard_type,) = found.shard_types
    assert (shard_type["name"], shard_type["runtime"]) == ("p", "triton")
    assert shard_type["devices"]["class"] == device_class


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ({"limits": {"memory": "1Gi"}}, "no CPU and memory"),
        ({"limits": {"cpu": 1, "memory": "1Gi", "nvidia.com/gpu": 1}}, "which GPU"),
    ],
)
def test_a_shard_type_that_is_not_known_whole_is_told(resources, told):
    found = read("kserve", a_service("p", triton={"resources": resources}), a_trained_model())
    assert found.shard_types == ()
    assert told in notes(found)["spec.predictor.triton.resources"]


def test_what_is_left_behind_is_told():
    service = a_service(
        sklearn={"storageUri": "s3://b"},
        minReplicas=0,
        maxReplicas=3,
        canaryTrafficPercent=10,
        more={"transformer": {"containers": []}, "explainer": {"alibi": {}}},
    )
    found = read(
        "kserve", service, {"kind": "Secret", "apiVersion": "v1"}, {"kind": "Secret", "apiVersion": "v1"}
    )
    assert set(notes(found)) == {
        "spec.transformer",
        "spec.explainer",
        "spec.predictor.canaryTrafficPercent",
        "spec.predictor.minReplicas",
        "spec.predictor.maxReplicas",
        "kind",
    }
    assert notes(found)["kind"] == "Secret is not carried over (and 1 more of this kind)"
    assert the_model(found).replicas == 1


def test_every_fault_is_told_at_its_place():
    text = (
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: serving.kserve.io/v1alpha1, kind: TrainedModel, metadata: {name: a}, spec: {}}\n"
        "- apiVersion: serving.kserve.io/v1beta1\n  kind: InferenceService\n  metadata: {name: b}\n"
        "  spec:\n    predictor:\n      minReplicas: two\n"
        "      sklearn: {storageUri: 7, resources: {requests: {cpu: lots}}}\n"
        "- {kind: 3}\n- 7\n"
    )
    with pytest.raises(InputError) as caught:
        read_foreign("kserve", ["-"], stdin=io.BytesIO(text.encode()))
    assert [(fault.file, fault.line, fault.path) for fault in caught.value.faults] == [
        ("<stdin>", 4, "items[0].spec.model"),
        ("<stdin>", 10, "items[1].spec.predictor.minReplicas"),
        ("<stdin>", 11, "items[1].spec.predictor.sklearn.storageUri"),
        ("<stdin>", 11, "items[1].spec.predictor.sklearn.resources"),
        ("<stdin>", 12, "items[2].kind"),
        ("<stdin>", 13, "items[3].kind"),
    ]


def test_a_name_that_stands_twice_is_a_fault():
    message = faults("kserve", a_trained_model(), a_service(sklearn={"storageUri": "s3://b"}))[
        "metadata.name"
    ]
    assert message.startswith("'m' is already the name of a model (<stdin>:")


# ------------------------------------------------------------------------------------------------- ModelMesh


def a_mesh_model(storage: Any, **more: Any) -> dict[str, Any]:
    model = {"modelFormat": {"name": "onnx"}, "storage": storage, **more}
    return a_service(annotations=MESH, model=model)


@pytest.mark.parametrize(
    ("storage", "given", "uri"),
    [
        ({"key": "k", "path": "a/b.onnx"}, {"k": "s3://bucket/"}, "s3://bucket/a/b.onnx"),
        ({"key": "k", "path": "/a", "parameters": {"bucket": "b"}}, {}, "s3://b/a"),
        ({"path": "a", "parameters": {"type": "gcs", "bucket": "b"}}, {}, "gs://b/a"),
        ({"path": "a", "parameters": {"type": "pvc", "name": "claim"}}, {}, "pvc://claim/a"),
        ({"key": "k", "path": "a", "parameters": {"bucket": "b"}}, {"k": "s3://told"}, "s3://told/a"),
    ],
)
def test_a_key_and_a_path_are_an_address(storage, given, uri):
    found = read("modelmesh", a_mesh_model(storage), given=Given(memory="1Mi", storage=given))
    assert the_model(found).storage_uri == uri


def test_a_key_that_nobody_explains_is_a_fault():
    found = faults("modelmesh", a_mesh_model({"key": "minio", "path": "a"}))
    assert found == {
        "spec.predictor.model.storage.key": "say where this key leads with --storage minio=s3://BUCKET"
    }
    assert faults("modelmesh", a_mesh_model({"key": "minio"}))[
        "spec.predictor.model.storage.path"
    ].startswith("is required")


def test_memory_is_told_to_be_missing_unless_it_is_given():
    model = a_mesh_model({"path": "a", "parameters": {"bucket": "b"}})
    assert "states no memory" in notes(read("modelmesh", model))["spec.predictor.model"]
    found = read("modelmesh", model, given=Given(memory="20Mi"))
    assert (notes(found), the_model(found).footprints[0].memory_bytes.p95) == ({}, 20 * 2**20)


def test_kserve_reads_what_modelmesh_serves_and_modelmesh_nothing_else():
    mesh = a_service("mesh", annotations=MESH, sklearn={"storageUri": "pvc://c/m"})
    alone = a_service("alone", sklearn={"storageUri": "s3://b"})
    assert {model.name for model in read("kserve", mesh, alone).models} == {"mesh", "alone"}
    found = read("modelmesh", mesh, alone)
    assert {model.name for model in found.models} == {"mesh"}
    assert notes(found)["kind"] == "InferenceService is not carried over"


# ---------------------------------------------------------------------------------------------------- Seldon


@pytest.mark.parametrize(
    ("spec", "backend"),
    [
        ({"requirements": ["sklearn-1.0", "production"]}, "sklearn"),
        ({"requirements": ["triton", "onnx"]}, "onnxruntime"),
        ({"requirements": ["triton"], "modelType": "xgboost"}, "fil"),
        ({"requirements": [], "modelType": "lightgbm"}, "lightgbm"),
        ({"requirements": ["huggingface"]}, "huggingface"),
    ],
)
def test_requirements_tell_the_backend(spec, backend):
    assert the_model(read("seldon", a_seldon_model(**spec))).backend == backend


def test_requirements_that_tell_nothing_are_a_fault():
    assert "names no format" in faults("seldon", a_seldon_model(requirements=["big"]))["spec.requirements"]


def test_addresses_of_rclone_that_are_none_of_ours_are_a_fault():
    assert "a storage URI" in faults("seldon", a_seldon_model(storageUri="minio:bucket/m"))["spec.storageUri"]


def test_a_server_that_tells_its_resources_is_a_shard_type():
    container = {"name": "mlserver", "resources": {"requests": {"cpu": "2", "memory": "8Gi"}}}
    server = {
        "apiVersion": "mlops.seldon.io/v1alpha1",
        "kind": "Server",
        "metadata": {"name": "big"},
        "spec": {"serverConfig": "mlserver", "replicas": 3, "podSpec": {"containers": [container]}},
    }
    found = read("seldon", server, a_seldon_model())
    (shard_type,) = found.shard_types
    assert (shard_type["runtime"], shard_type["maxCount"]) == ("mlserver", 3)


# -------------------------------------------------------------------------------------------- Michelangelo


def read_list(entries: Any, **given: Any) -> Imported:
    text = entries if isinstance(entries, str) else json.dumps(entries)
    return read_foreign(
        "michelangelo", ["-"], given=Given(**{"backend": "python", **given}), stdin=io.BytesIO(text.encode())
    )


def test_a_list_and_the_config_map_that_holds_it_are_read_alike():
    entries = [
        {"name": "a", "storage_path": "s3://b/a", "deployment_name": "d"},
        {"name": "b", "s3_path": "s3://b/b"},
    ]
    config_map = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"model-list.json": json.dumps(entries)}}
    assert read_list(entries).models == read_list(yaml.safe_dump(config_map)).models
    assert [model.storage_uri for model in read_list(entries).models] == ["s3://b/a", "s3://b/b"]


def test_two_deployments_of_one_model_are_one_model():
    entries = [{"name": "a", "storage_path": "s3://b/a", "deployment_name": name} for name in ("x", "y")]
    assert len(read_list(entries).models) == 1
    entries[1]["storage_path"] = "s3://b/other"
    with pytest.raises(InputError, match=r"\[1\].storage_path: 'a' has other files in \[0\]"):
        read_list(entries)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([7], r"\[0\]: expected a mapping"),
        ([{"storage_path": "s3://b/a"}], r"\[0\].name: expected a model's name"),
        ([{"name": "a"}], r"\[0\].storage_path: expected a storage URI"),
        ([{"name": "a", "storage_path": "/x"}], r"\[0\].storage_path: .* a storage URI"),
        ([{"name": "a", "storage_path": "s3://b", "phase": "odd"}], r"\[0\].phase: 'odd' is not one of"),
        ({"kind": "ConfigMap", "data": {}}, r"data.model-list.json: is required"),
        (
            {"kind": "ConfigMap", "data": {"model-list.json": "["}},
            r"data.model-list.json: the file is cut off",
        ),
        ({"kind": "ConfigMap", "data": {"model-list.json": "{}"}}, r"data.model-list.json: expected a list"),
    ],
)
def test_what_is_wrong_in_a_list_is_told(entries, message):
    with pytest.raises(InputError, match=message):
        read_list(entries)


def test_a_list_needs_a_backend():
    with pytest.raises(InputError, match="give --backend"):
        read_list([{"name": "a", "storage_path": "s3://b"}], backend=None)


# --------------------------------------------------------------------------------------------- all together


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "triton"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "a: &a [*a]",
        "a: 1\n---\n- 2",
        "kind: [List]",
        "kind: List\nitems: 3",
        "kind: List\nitems: [[[]], null]",
        "{kind: Model, apiVersion: mlops.seldon.io/v1alpha1, metadata: 4, spec: [1]}",
        "{kind: InferenceService, metadata: [], spec: {predictor: {model: {storage: 1}}}}",
        "{kind: InferenceService, spec: {predictor: {sklearn: {storageUri: {}, resources: 3}}}}",
        "{kind: Predictor, spec: 7}",
        "{kind: TrainedModel}",
        "[" * 5000,
        "a: &a {b: 1}\nc: [" + "*a," * 200 + "]",
        "\0",
    ],
)
def test_hostile_text_is_a_fault_or_nothing_and_never_more(kind, text):
    with contextlib.suppress(InputError):
        found = read_foreign(kind, ["-"], given=Given(backend="python"), stdin=io.BytesIO(text.encode()))
        assert found.models == ()


def test_aliases_without_end_are_refused():
    bomb = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    with pytest.raises(InputError, match="aliases expand"):
        read_foreign("kserve", ["-"], stdin=io.BytesIO(("a0: &a0 x\n" + bomb).encode()))


def test_folders_files_and_stdin_are_read_together(tmp_path: Path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.json").write_text(json.dumps(a_trained_model("a")))
    (tmp_path / "b.yml").write_text(yaml.safe_dump(a_trained_model("b")))
    (tmp_path / "notes.md").write_text("no object")
    stdin = io.BytesIO(yaml.safe_dump(a_trained_model("c")).encode())
    found = read_foreign("kserve", [str(tmp_path / "deep"), str(tmp_path / "b.yml"), "-"], stdin=stdin)
    assert [model.name for model in found.models] == ["a", "b", "c"]


@pytest.mark.parametrize("path", ["missing.yaml", "empty"])
def test_paths_without_objects_are_faults(tmp_path: Path, path: str):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no such file|holds no \.yaml"):
        read_foreign("kserve", [str(tmp_path / path)])
    with pytest.raises(InputError, match="is closed"):
        read_foreign("kserve", ["-"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a_b", "a-b"), ("Model.V2", "model-v2"), ("__x__", "x"), ("plain-1", "plain-1"), ("模型", "")],
)
def test_names_become_names_of_kubernetes(name, expected):
    assert scenario_name(name) == expected


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_written_is_a_scenario(as_json):
    found = read("seldon", a_seldon_model("a"), a_seldon_model("b", requirements=["huggingface"], replicas=2))
    document = imported_document(found, name="new", namespace="ns", uses=["aws-m7i.2xlarge"])
    scenario = parse_scenario(document_text(document, as_json=as_json), file="x")
    assert (scenario.name, scenario.namespace) == ("new", "ns")
    assert [model.name for model in scenario.models] == ["a", "b"]
    assert scenario.models == tuple(sorted(found.models, key=lambda model: model.name))
