"""What each server needs in a model's folder."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.errors import PinError
from agent.layouts import kserve, mlserver, python_stub, triton
from agent.layouts.port import Arrangement, Asked, Layout
from agent.pins import Pin, pin_of
from agent.repository import Repository
from agent.storage import Limits
from tests.support.agent_models import on_gpu, wanted

CPU = pin_of(wanted(), visible=None)
GPU = pin_of(wanted(devices=on_gpu(0)), visible=None)


def asked(folder: Path, *, framework: str = "sklearn", pin: Pin = CPU) -> Asked:
    return Asked(name="m", pin=pin, framework=framework, folder=folder, record=folder.parent)


def made(folder: Path, framework: str = "sklearn") -> dict[str, Any]:
    files = mlserver.lay_out(asked(folder, framework=framework)).files
    settings: dict[str, Any] = json.loads(files["model-settings.json"])
    return settings


def write(folder: Path, *paths: str, text: str = "x") -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_a_config_that_takes_long_to_scan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text("a:1 " * 300_000)
    with pytest.raises(PinError, match="larger than") as caught:
        triton.lay_out(Asked(name="m", pin=CPU, framework="onnx", folder=tmp_path / "m", record=tmp_path))
    assert caught.value.reason == "BadConfig"


@pytest.mark.parametrize(
    ("files", "framework", "implementation", "uri"),
    [
        (["1/model.joblib"], "sklearn", "mlserver_sklearn.SKLearnModel", "./1"),
        (["1/forest.pkl"], "sklearn", "mlserver_sklearn.SKLearnModel", "./1/forest.pkl"),
        (["1/a.bst", "1/b.txt"], "XGBoost", "mlserver_xgboost.XGBoostModel", "./1"),
        (["model.bst"], "lightgbm", "mlserver_lightgbm.LightGBMModel", "."),
        (["1/MLmodel", "1/model.pkl"], "mlflow", "mlserver_mlflow.MLflowRuntime", "./1"),
        (["1/model.bst", "2/model.bst"], "lightgbm", "mlserver_lightgbm.LightGBMModel", "."),
    ],
)
def test_settings_are_made_by_framework(
    tmp_path: Path, files: list[str], framework: str, implementation: str, uri: str
) -> None:
    found = made(write(tmp_path / "m", *files), framework)
    assert (found["name"], found["implementation"], found["parameters"]["uri"]) == ("m", implementation, uri)


def test_made_settings_follow_the_framework_and_are_no_longer_written_when_equal(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", "1/model.bst")
    (folder / "model-settings.json").write_bytes(mlserver.lay_out(asked(folder)).files["model-settings.json"])
    assert made(folder, "xgboost")["implementation"] == "mlserver_xgboost.XGBoostModel"


def test_every_settings_file_gets_the_model_s_name_and_keeps_the_rest(tmp_path: Path) -> None:
    text = '{"name": "victim", "implementation": "a.B", "parameters": {"version": "1"}}'
    folder = write(tmp_path / "m", "1/model-settings.json", "1/deep/model-settings.json", text=text)
    (folder / "model-settings.json").write_text('{"name": "m"}')
    files = mlserver.lay_out(asked(folder)).files
    assert set(files) == {"1/model-settings.json", "1/deep/model-settings.json"}
    for content in files.values():
        assert json.loads(content) == {**json.loads(text), "name": "m"}


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_settings_that_cannot_be_read_are_a_fault_of_the_model(tmp_path: Path, text: str) -> None:
    with pytest.raises(PinError) as raised:
        mlserver.lay_out(asked(write(tmp_path / "m", "model-settings.json", text=text)))
    assert raised.value.reason == "BadConfig"


def test_a_framework_without_a_runtime_needs_settings(tmp_path: Path) -> None:
    with pytest.raises(PinError, match="'onnx' does not tell MLServer's runtime"):
        made(write(tmp_path / "m", "1/model.onnx"), "onnx")


@pytest.mark.parametrize("layout", [mlserver.lay_out, kserve.lay_out])
def test_a_gpu_is_refused(tmp_path: Path, layout: Layout) -> None:
    with pytest.raises(PinError, match="planned on gpu:0") as raised:
        layout(asked(write(tmp_path / "m", "1/model.bst"), pin=GPU))
    assert raised.value.reason == "PinNotSupported"


@pytest.mark.parametrize(
    ("files", "raised"),
    [(["1/m.bst"], "1"), (["7/m.bst", "notes"], "7"), (["m.bst"], None), (["1/a", "2/a"], None)],
)
def test_kserve_has_its_files_without_the_version(
    tmp_path: Path, files: list[str], raised: str | None
) -> None:
    assert kserve.lay_out(asked(write(tmp_path / "m", *files))).raised == raised


def test_files_come_up_once_and_what_a_crash_left_below_as_well(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "models", tmp_path / "state", Limits())
    repository.prepare()
    uri = write(tmp_path / "source", "a.bst", "b.bst").as_uri()
    repository.download("m", uri, unwanted=lambda: False, seconds=lambda: 0.0)
    repository.install("m", CPU, "sklearn", layout=kserve.lay_out)
    live = tmp_path / "models" / "m"
    assert sorted(path.name for path in live.iterdir()) == ["a.bst", "b.bst"]
    (live / "1").mkdir()
    (live / "b.bst").rename(live / "1" / "b.bst")
    repository.remember_loaded("m", CPU)
    repository.place("m", CPU, "sklearn", layout=kserve.lay_out)
    assert sorted(path.name for path in live.iterdir()) == ["a.bst", "b.bst"]
    assert repository.installed()["m"].loaded_pin is None
    loaded = repository.remember_loaded("m", CPU)
    repository.place("m", CPU, "sklearn", layout=kserve.lay_out)
    assert repository.installed() == {"m": loaded}


# ------------------------------------------------------------------------------------------ Triton's backends

TWO = pin_of(wanted(devices=on_gpu(1, 3), instances=2), visible=None)


def triton_model(folder: Path, config: str, *, pin: Pin = GPU, shows_gpus: bool = False) -> Arrangement:
    """Return what becomes of a model with this config."""
    (folder / "m").mkdir(exist_ok=True)
    (folder / "config.pbtxt").write_text(config)
    return triton.TritonLayout(shows_gpus=shows_gpus)(asked(folder / "m", pin=pin))


def config_of(arrangement: Arrangement) -> str:
    return arrangement.files["config.pbtxt"].decode()


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt", "pytorch", "sim"])
def test_backends_that_obey_get_the_pin_and_nothing_else(tmp_path: Path, backend: str) -> None:
    found = triton_model(tmp_path, f'backend: "{backend}"', pin=TWO, shows_gpus=True)
    assert TWO.instance_group is not None
    assert TWO.instance_group in config_of(found)
    assert (set(found.files), found.unenforced) == ({"config.pbtxt"}, None)


def test_a_python_model_is_told_its_device_and_may_ignore_it(tmp_path: Path) -> None:
    found = triton_model(tmp_path, 'backend: "python"')
    assert "gpus: [ 0 ]" in config_of(found)
    assert "code asks for" in str(found.unenforced)
    assert triton_model(tmp_path, 'backend: "python"', pin=CPU).unenforced is None


def test_a_python_model_is_shown_its_devices_alone(tmp_path: Path) -> None:
    found = triton_model(tmp_path, 'backend: "python"', pin=TWO, shows_gpus=True)
    assert "kind: KIND_GPU count: 2 gpus: [ 0, 1 ]" in config_of(found)
    assert found.unenforced is None
    assert found.programs == {"triton_python_backend_stub"}
    assert "CUDA_VISIBLE_DEVICES" not in config_of(found)


@pytest.mark.parametrize(
    ("given", "shown"),
    [(None, "1,3"), ("", "1,3"), ("GPU-a,GPU-b,GPU-c,GPU-d", "GPU-b,GPU-d"), ("4,5,6,7", "5,7")],
)
def test_the_devices_that_are_shown(tmp_path: Path, given: str | None, shown: str) -> None:
    program = tmp_path / "triton_python_backend_stub"
    program.write_bytes(python_stub.stub((1, 3)))
    program.chmod(0o755)
    backend = tmp_path / "back end"
    backend.mkdir()
    real = backend / "triton_python_backend_stub"
    real.write_text('#!/bin/sh\nprintf "%s\\n" "$CUDA_VISIBLE_DEVICES" "$@"\n')
    real.chmod(0o755)
    environment = {"PATH": os.environ["PATH"]} | ({} if given is None else {"CUDA_VISIBLE_DEVICES": given})
    arguments = ["model.py", "shm", "1", "2", "3", str(backend), "a handle", "m_0_0"]
    done = subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines() == [shown, *arguments]
    # Triton tries whether it may run it.
    assert subprocess.run([program], env=environment, check=False, timeout=30).returncode == 1


ON_GPU = 'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } }'


@pytest.mark.parametrize(
    ("own", "config"),
    [
        (True, 'backend: "python"'),
        (False, f'backend: "python"\n{ON_GPU}'),
    ],
)
def test_where_a_python_model_cannot_be_shown_its_devices(tmp_path: Path, own: bool, config: str) -> None:
    if own:
        write(tmp_path / "m", "triton_python_backend_stub", text="its own")
    found = triton_model(tmp_path, config, pin=TWO, shows_gpus=True)
    assert "gpus: [ 1, 3 ]" in config_of(found)
    assert found.unenforced is not None
    assert (set(found.files), found.absent) == ({"config.pbtxt"}, frozenset())


def test_a_program_that_is_not_needed_any_more_goes(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "models", tmp_path / "state", Limits())
    repository.prepare()
    write(tmp_path / "store", "config.pbtxt", text='backend: "python"')
    write(tmp_path / "store", "1/model.py")
    repository.download("m", (tmp_path / "store").as_uri(), unwanted=lambda: False, seconds=lambda: 0.0)
    shown, told = triton.TritonLayout(shows_gpus=True), triton.TritonLayout()
    assert repository.install("m", GPU, "python", layout=shown).unenforced is None
    program = tmp_path / "models" / "m" / "triton_python_backend_stub"
    assert os.access(program, os.X_OK)
    repository.place("m", GPU, "python", layout=told)
    assert not program.exists()
    assert repository.installed()["m"].unenforced is not None
    assert repository.installed()["m"].loaded_pin is None  # its next load is a new one
    repository.place("m", GPU, "python", layout=shown)
    assert program.exists()
    repository.place("m", CPU, "python", layout=shown)
    assert not program.exists()


def test_vllm_on_several_devices_keeps_its_own_group(tmp_path: Path) -> None:
    own = 'backend: "vllm"\ninstance_group [ { count: 1 kind: KIND_MODEL } ]'
    assert "gpus: [ 0 ]" in config_of(triton_model(tmp_path, own, shows_gpus=True))
    found = triton_model(tmp_path, own, pin=TWO, shows_gpus=True)
    assert "KIND_MODEL" in config_of(found)
    assert "KIND_GPU" not in config_of(found)
    assert "vLLM" in str(found.unenforced)


def test_tensorrt_llm_is_told_by_its_own_parameter(tmp_path: Path) -> None:
    own = (
        'backend: "tensorrtllm"\ninstance_group [ { count: 1 kind: KIND_CPU } ]\n'
        'parameters: { key: "gpu_device_ids" value: { string_value: "${gpu_device_ids}" } }'
    )
    found = triton_model(tmp_path, own, pin=TWO)
    assert 'parameters { key: "gpu_device_ids" value { string_value: "1,3" } }' in config_of(found)
    assert "instance_group [ { kind: KIND_CPU count: 2 } ]" in config_of(found)
    assert "${" not in config_of(found)
    assert found.unenforced is None


def test_an_ensemble_runs_nowhere_itself(tmp_path: Path) -> None:
    found = triton_model(tmp_path, 'platform: "ensemble"\nensemble_scheduling { step [ ] }', shows_gpus=True)
    assert "instance_group" not in config_of(found)
    assert found.unenforced is None
