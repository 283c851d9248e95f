"""What each server needs in a model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import PinError
from agent.layouts import kserve, mlserver, triton
from agent.layouts.port import Asked, Layout
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
