"""Models from CSV tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.domain.footprint import Amount
from planner.domain.model import Model
from planner.errors import InputError
from planner.scenario.load import load_scenario

MAIN = """\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {name: t}
spec:
  shardTypes: [{use: aws-g4dn.xlarge, name: t4, group: t4}]
  modelsFrom: [{table: m.csv}]
"""
MIB = 2**20


def load(folder: Path, table: str) -> tuple[Model, ...]:
    (folder / "main.yaml").write_text(MAIN, encoding="utf-8")
    (folder / "m.csv").write_text(table, encoding="utf-8")
    return load_scenario(folder / "main.yaml").models


def faults(folder: Path, table: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(InputError) as caught:
        load(folder, table)
    assert all(str(fault.file).endswith("m.csv") for fault in caught.value.faults)
    return [(fault.line, fault.path, fault.message) for fault in caught.value.faults]


def test_every_column_reaches_its_field(tmp_path: Path) -> None:
    (model,) = load(
        tmp_path,
        "class,name,backend,framework,storageUri,replicas,priority,tenant,together,devicesPerReplica,pinShard,"
        "pinDevice,probe,labels,batch,instances,gpuMemory,gpuMemoryP50,gpuLoadPeak,gpuResidual,gpuTime,gpuTimeP50,"
        "cpu,cpuP50,memory,memoryP50,disk,source,extra.licenses\n"
        "nvidia-t4,a,onnxruntime,onnx,s3://x/a,2,-3,acme,pair,1,t4-1,0,infer,team=news;lang=en,8,2,100Mi,80Mi,120Mi,"
        "4Mi,35m,30m,2,1,1Gi,512Mi,2Mi,measured,3\n",
    )
    assert (model.name, model.backend, model.framework, model.storage_uri) == (
        "a",
        "onnxruntime",
        "onnx",
        "s3://x/a",
    )
    assert (model.replicas, model.priority, model.tenant, model.together) == (2, -3, "acme", "pair")
    assert model.pin is not None
    assert (model.pin.shard, model.pin.device) == ("t4-1", 0)
    assert model.probe == "infer"
    assert model.labels == (("lang", "en"), ("team", "news"))
    (option,) = model.footprints
    assert (option.batch, option.instances, option.source) == (8, 2, "measured")
    assert option.steady_bytes == Amount(p50=80 * MIB, p95=100 * MIB)
    assert option.load_peak_bytes.p95 == 120 * MIB
    assert option.residual_bytes.p95 == 4 * MIB
    assert option.device_milli == Amount(p50=30, p95=35)
    assert option.cpu_milli == Amount(p50=1000, p95=2000)
    assert option.memory_bytes == Amount(p50=512 * MIB, p95=1024 * MIB)
    assert option.disk_bytes.p95 == 2 * MIB
    assert option.extra == (("licenses", 3000),)


def test_further_rows_of_a_model_are_further_footprints(tmp_path: Path) -> None:
    first, second = load(
        tmp_path,
        "name,backend,storageUri,class,memory\na,fil,s3://x/a,cpu,1Gi\nb,fil,s3://x/b,cpu,\na,,,nvidia-t4,2Gi\n",
    )
    assert [option.device_class for option in first.footprints] == ["cpu", "nvidia-t4"]
    assert second.footprints[0].memory_bytes.p95 == 0


def test_faults_name_the_line_and_the_column(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "name,backend,storageUri,class,replicas,gpuMemory,gpuMemoryP50,labels\n"
        "A,fil,s3://x/a,cpu,1,,,\n"
        "b,fil,nowhere,cpu,two,,,\n"
        "c,fil,s3://x/c,nvidia-t4,1,1Gi,2Gi,x\n"
        "d,fil,s3://x/d,nvidia-t4\n"
        "e,fill,s3://x/e,nvidia-t5,1,,,\n"
        "e,fil,,cpu,,1Gi,,\n",
    )
    assert [(line, column) for line, column, _ in found] == [
        (2, "name"),
        (3, "storageUri"),
        (3, "replicas"),
        (4, "labels"),
        (4, "gpuMemory"),
        (5, ""),
        (6, "backend"),
        (6, "class"),
        (7, "backend"),
        (7, "gpuMemory"),
    ]
    texts = {(line, column): message for line, column, message in found}
    assert "is not a model's name" in texts[2, "name"]
    assert texts[3, "replicas"] == "expected a whole number, found the text 'two'"
    assert "p50 (2Gi) is above p95 (1Gi)" in texts[4, "gpuMemory"]
    assert texts[5, ""] == "has 4 cells; the first line names 8 columns"
    assert "did you mean 'nvidia-t4'?" in texts[6, "class"]
    assert texts[7, "backend"] == "differs from the first row of model 'e'"
    assert "it has no GPU memory" in texts[7, "gpuMemory"]


def test_the_columns_are_checked_first(tmp_path: Path) -> None:
    found = faults(tmp_path, "name,backend,class,class,gpumemory\n")
    assert [(line, column) for line, column, _ in found] == [
        (1, "class"),
        (1, "gpumemory"),
        (1, "storageUri"),
    ]
    assert "did you mean 'gpuMemory'?" in found[1][2]


@pytest.mark.parametrize(
    ("table", "message"),
    [("", "is empty"), ('name,backend,storageUri,class\n"a\n', "is not CSV")],
)
def test_what_is_no_table(tmp_path: Path, table: str, message: str) -> None:
    assert message in faults(tmp_path, table)[0][2]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_cells_that_are_not_separated_by_commas_are_one_fault(tmp_path: Path, separator: str) -> None:
    table = "name,backend,storageUri,class\n".replace(",", separator)
    assert faults(tmp_path, table) == [(1, "", f"the cells are separated by {separator!r}; write a comma")]


def test_a_column_without_a_name_is_counted(tmp_path: Path) -> None:
    table = "name,backend,storageUri,class,\na,onnxruntime,s3://x/a,nvidia-t4,\n"
    assert faults(tmp_path, table) == [(1, "", "column 5 has no name")]


def test_labels_that_are_none_say_how_they_are_written(tmp_path: Path) -> None:
    table = "name,backend,storageUri,class,labels\na,onnxruntime,s3://x/a,nvidia-t4,news\n"
    ((line, column, message),) = faults(tmp_path, table)
    assert (line, column) == (2, "labels")
    assert message.endswith("write labels as team=news;lang=en")


_COLUMNS = "name,backend,storageUri,replicas,class,gpuMemory\n"


def test_rows_of_a_model_need_not_follow_each_other(tmp_path: Path) -> None:
    apart = load(
        tmp_path,
        f"{_COLUMNS}a,onnxruntime,s3://x/a,2,nvidia-t4,1Gi\nb,onnxruntime,s3://x/b,1,nvidia-t4,1Gi\n"
        "a,,,2,nvidia-a10g,2Gi\na,,,,nvidia-l4,3Gi\n",
    )
    following = load(
        tmp_path,
        f"{_COLUMNS}a,onnxruntime,s3://x/a,2,nvidia-t4,1Gi\na,,,2,nvidia-a10g,2Gi\na,,,,nvidia-l4,3Gi\n"
        "b,onnxruntime,s3://x/b,1,nvidia-t4,1Gi\n",
    )
    assert apart == following
    assert [len(model.footprints) for model in apart] == [3, 1]


def test_a_later_row_of_a_model_has_its_own_line(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        f"{_COLUMNS}a,onnxruntime,s3://x/a,2,nvidia-t4,1Gi\nb,onnxruntime,s3://x/b,1,nvidia-t4,1Gi\n"
        "a,,,3,nvidia-a10g,much\n",
    )
    assert [(line, column) for line, column, _ in found] == [(4, "replicas"), (4, "gpuMemory")]
    assert found[0][2] == "differs from the first row of model 'a'"


def test_a_line_ends_as_csv_says_and_nowhere_else(tmp_path: Path) -> None:
    (model,) = load(
        tmp_path, f'{_COLUMNS}a,onnxruntime,s3://x/a,"2\r\n",nvidia-t4,1Gi\r'.replace("\n", "\r\n")
    )
    assert model.replicas == 2
    (fault,) = faults(tmp_path, f"{_COLUMNS}a,onnx\u2028runtime,s3://x/a,1,nvidia-t4,1Gi\n")
    assert fault[:2] == (2, "backend")
