"""``validate``, ``limits``, ``explain``, ``report``, ``manifests`` and ``inventory``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from cli_runs import SCENARIO, Files, Run

MIB = 2**20

# -------------------------------------------------------------------------------------------- validate


def test_a_sound_scenario_is_counted(files: Files, run: Run) -> None:
    result = run("validate", files.scenario)
    assert result.stdout.endswith("sound: 2 models, 3 replicas, 1 shard type\n")
    document = json.loads(run("validate", "-f", files.scenario, "-o", "json").stdout)
    assert (document["name"], document["models"], document["replicas"]) == ("news", 2, 3)
    assert run("validate", files.scenario, "-o", "name").stdout == "model/politics\nmodel/sports\n"


def test_every_fault_has_its_file_and_line(files: Files, run: Run) -> None:
    result = run("validate", files.broken)
    lines = result.stderr.splitlines()
    assert result.exit_code == 2
    assert len(lines) >= 2
    assert all(line.startswith(f"{files.broken}:") for line in lines)


def test_stdin_has_a_name_too(run: Run) -> None:
    result = run("validate", "-", stdin="kind: Nonsense\n")
    assert result.exit_code == 2
    assert result.stderr.startswith("<stdin>")


# ---------------------------------------------------------------------------------------------- limits


def test_limits_come_with_and_without_a_plan(files: Files, run: Run, planned: str) -> None:
    alone = json.loads(run("limits", files.scenario, "-o", "json").stdout)
    assert alone["onePerService"]["pods"] == 3
    assert alone["sharded"] is None
    both = json.loads(run("limits", files.scenario, planned, "-o", "json").stdout)
    assert both["sharded"]["pods"] == 2
    text = run("limits", files.scenario, planned, "--transformers", "2").stdout
    assert "2 transformer pods" in text


def test_a_third_file_is_one_too_many(files: Files, run: Run, planned: str) -> None:
    assert run("limits", files.scenario, planned, planned).exit_code == 2


# --------------------------------------------------------------------------------------------- explain


@pytest.mark.parametrize(
    ("subject", "kind"),
    [(None, "plan"), ("sports", "model"), ("news-1", "shard"), ("news/0", "device"), ("shard/news", "shard")],
)
def test_everything_can_be_explained(
    subject: str | None, kind: str, files: Files, run: Run, planned: str
) -> None:
    arguments = ["explain", planned, *([subject] if subject else []), "-f", files.scenario]
    assert run(*arguments).stdout.lower().startswith(kind)
    document = json.loads(run(*arguments, "-o", "json").stdout)
    assert document["kind"] == kind
    assert yaml.safe_load(run(*arguments, "-o", "yaml").stdout) == document


def test_nobody_cannot_be_explained(files: Files, run: Run, planned: str) -> None:
    result = run("explain", planned, "nobody", "-f", files.scenario)
    assert result.exit_code == 2
    assert "no model, shard or device 'nobody'" in result.stderr


# ---------------------------------------------------------------------------------------------- report


def test_a_report_is_written_or_printed(files: Files, run: Run, planned: str) -> None:
    out = files.path("report.html")
    assert run("report", files.scenario, planned, "--out", out).stderr == f"wrote {out}\n"
    text = Path(out).read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert run("report", files.scenario, planned, "--out", "-").stdout == text


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("no/report.html", "no folder"), ("", "is a folder"), ("plan.json", "would overwrite")],
)
def test_a_report_that_cannot_be_written_is_bad_input(
    name: str, complaint: str, files: Files, run: Run, planned: str
) -> None:
    result = run("report", files.scenario, planned, "--out", files.path(name))
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_report_into_a_folder_that_refuses_it_is_bad_input(files: Files, run: Run, planned: str) -> None:
    result = run("report", files.scenario, planned, "--out", "/proc/self/report.html")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


# ------------------------------------------------------------------------------------------- manifests


def _with_addresses(files: Files, run: Run, *addresses: str) -> tuple[str, str]:
    """Return the paths of a scenario with a small model an address, and of its plan."""
    head, _, _ = SCENARIO.partition("    - name: sports")
    scenario, plan = files.path("addresses.yaml"), files.path("addresses.json")
    items = [
        f"    - {{name: m{number}, backend: onnxruntime, storageUri: {address!r}, footprints:"
        " [{class: tiny-gpu, gpuMemory: 1Mi, cpu: 1m, memory: 1Mi}]}\n"
        for number, address in enumerate(addresses)
    ]
    Path(scenario).write_text(head + "".join(items), encoding="utf-8")
    assert run("plan", scenario, "--out", plan, "-q").exit_code == 0
    return scenario, plan


def test_addresses_that_are_not_taken_are_said_once_with_a_count_and_the_first_names(
    files: Files, run: Run
) -> None:
    kept = ["https://a/m.zip", "http://a/m.zip"]
    scenario, plan = _with_addresses(files, run, *kept, *["oci://a/m"] * 4, "hdfs://a/m", "file:///m")
    result = run("manifests", scenario, plan, "--out", files.path("deploy"))
    assert result.exit_code == 0
    assert result.stdout == ""
    wrote, *warnings = result.stderr.splitlines()
    assert wrote.startswith("wrote")
    assert warnings == [
        (
            "warning: 5 models (m2, m3, m4 and 2 more) have a storageUri of hdfs:// or oci://:"
            " the agent fetches file://, pvc://, http://, https://, s3://, gs://, az://, abfs://, abfss://,"
            " hf:// only, and ends at DownloadFailed"
        ),
        (
            "warning: 6 models (m2, m3, m4 and 3 more) have a storageUri of file:// or hdfs:// or oci://:"
            " KServe takes s3://, gs://, https://, http:// only, and refuses the TrainedModel"
        ),
    ]


def test_the_warning_of_addresses_keeps_out_of_the_results_and_is_silent_on_demand(
    files: Files, run: Run
) -> None:
    scenario, plan = _with_addresses(files, run, "oci://a/m")
    stream = run("manifests", scenario, plan, "--out", "-")
    quiet = run("manifests", scenario, plan, "--out", "-", "-q")
    assert stream.stderr.startswith("warning: 1 model (m0) has a storageUri of oci://: ")
    assert (quiet.stdout, quiet.stderr) == (stream.stdout, "")


def test_addresses_that_all_take_are_not_talked_about(files: Files, run: Run) -> None:
    scenario, plan = _with_addresses(files, run, "https://a/m.zip", "http://a/m.zip")
    assert run("manifests", scenario, plan, "--out", "-").stderr == ""


def test_models_that_may_run_on_another_gpu_are_named_until_they_see_no_other(files: Files, run: Run) -> None:
    scenario, _ = _with_addresses(files, run, "s3://a/m")
    text = Path(scenario).read_text().replace("backend: onnxruntime", "backend: python")
    Path(scenario).write_text(text.replace("count: 1", "count: 2"))
    plan = files.path("addresses.json")
    assert run("plan", scenario, "--out", plan, "-q").exit_code == 0
    arguments = ("manifests", scenario, plan, "--out", "-")
    setting = "SHARDPACK_AGENT_PYTHON_GPUS=shown"
    assert run(*arguments).stderr == (
        "warning: 1 model (m0) of the backend python may run on other GPUs of their shards than planned:"
        f" give them a shard type that has no others, or have them see no other: --env {setting}\n"
    )
    assert run(*arguments, "--env", setting).stderr == ""


def test_manifests_name_the_secrets_of_stores(files: Files, run: Run, planned: str) -> None:
    given = (
        "--secret",
        "keys",
        "--secret",
        "keys",
        "--env",
        "S3_ENDPOINT=minio:9000",
        "--env",
        "S3_USE_HTTPS=0",
    )
    text = run("manifests", files.scenario, planned, "--out", "-", *given).stdout
    assert text.count("- secretRef:") == 2 * text.count("kind: InferenceService")
    assert "value: minio:9000" in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--secret", "Keys!"), "'Keys!' is not the name of a Secret"),
        (("--gcs-secret", ""), "'' is not the name of a Secret"),
        (("--shared-cache", "a/b"), "'a/b' is neither the name of a claim nor an absolute path"),
        (("--shared-cache-bytes", "much"), "much"),
        (("--env", "AWS_REGION"), "'AWS_REGION' is not NAME=VALUE"),
        (("--env", "AWS REGION=x"), "'AWS REGION=x' is not NAME=VALUE"),
    ],
)
def test_manifests_refuse_what_kubernetes_would(
    files: Files, run: Run, planned: str, given: tuple[str, str], message: str
) -> None:
    result = run("manifests", files.scenario, planned, "--out", "-", *given)
    assert result.exit_code == 2
    assert message in result.stderr


def test_manifests_are_a_folder_or_a_stream(files: Files, run: Run, planned: str) -> None:
    out = files.path("deploy")
    assert run("manifests", files.scenario, planned, "--out", out).stdout == ""
    listed = run("manifests", files.scenario, planned, "--out", out, "-o", "table").stdout.splitlines()
    written = {path.relative_to(out).as_posix() for path in Path(out).rglob("*") if not path.is_dir()}
    assert listed[0].split() == ["KIND", "NAME", "FILE"]
    assert {line.split()[2] for line in listed[1:]} == {
        path for path in written if not path.endswith("kustomization.yaml")
    }
    stream = run("manifests", files.scenario, planned, "--out", "-").stdout
    kinds = [item["kind"] for item in yaml.safe_load_all(stream)]
    assert kinds.count("InferenceService") == 2
    assert kinds[-2:] == ["TrainedModel"] * 2
    assert "Kustomization" not in kinds


def test_every_format_of_manifests_has_the_same_objects(files: Files, run: Run, planned: str) -> None:
    printed = {
        form: run("manifests", files.scenario, planned, "--out", "-", "-o", form).stdout
        for form in ("yaml", "json", "table", "wide", "name")
    }
    objects = list(yaml.safe_load_all(printed["yaml"]))
    assert json.loads(printed["json"]) == {"apiVersion": "v1", "kind": "List", "items": objects}
    rows = [[item["kind"], item["metadata"]["name"]] for item in objects]
    for form in ("table", "wide"):
        assert [line.split()[:2] for line in printed[form].splitlines()[1:]] == rows
    names = printed["name"].splitlines()
    assert "configmap/modelconfig-news-0" in names
    assert "trainedmodel.serving.kserve.io/sports" in names
    assert len(names) == len(objects)


def test_wide_manifests_have_the_size_that_the_api_server_limits(
    files: Files, run: Run, planned: str
) -> None:
    text = run("manifests", files.scenario, planned, "--out", "-", "-o", "wide").stdout
    header, first, *_ = text.splitlines()
    assert header.split() == ["KIND", "NAME", "FILE", "API", "VERSION", "NAMESPACE", "BYTES"]
    size = len('{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"models"}}')
    assert first.split() == ["Namespace", "models", "namespace.yaml", "v1", "-", str(size)]


def test_a_stream_can_be_applied_in_its_order(files: Files, run: Run) -> None:
    """Two shards are parents of models; still no TrainedModel comes before an InferenceService."""
    scenario, plan = files.path("apart.yaml"), files.path("apart.json")
    Path(scenario).write_text(SCENARIO.replace("gpuMemory: 2Gi", "gpuMemory: 14Gi"), encoding="utf-8")
    run("plan", scenario, "--out", plan)
    stream = run("manifests", scenario, plan, "--out", "-").stdout
    objects = list(yaml.safe_load_all(stream))
    kinds = [item["kind"] for item in objects]
    first = kinds.index("TrainedModel")
    assert set(kinds[first:]) == {"TrainedModel"}
    assert kinds[0] == "Namespace"
    assert len({item["spec"]["inferenceService"] for item in objects[first:]}) == 2


def test_a_folder_of_others_is_left_alone(files: Files, run: Run, planned: str) -> None:
    result = run("manifests", files.scenario, planned, "--out", str(files.folder))
    assert result.exit_code == 2
    assert Path(files.scenario).exists()


# ------------------------------------------------------------------------------------------- inventory


class _NVMLError(Exception):
    value = 999


def _one_t4() -> SimpleNamespace:
    """Stands for pynvml on a machine with one Tesla T4 of which 1 GiB is in use."""
    memory = SimpleNamespace(total=15_360 * MIB, reserved=450 * MIB, used=1024 * MIB)

    def no_mig(handle: int) -> tuple[int, int]:
        error = _NVMLError("Not Supported")
        error.value = 3
        raise error

    return SimpleNamespace(
        NVMLError=_NVMLError,
        nvmlMemory_v2=2,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: "570.1",
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: "Tesla T4",
        nvmlDeviceGetUUID=lambda handle: "GPU-1",
        nvmlDeviceGetMemoryInfo=lambda handle, version: memory,
        nvmlDeviceGetMigMode=no_mig,
    )


def test_an_inventory_is_a_part_of_a_scenario(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _one_t4())  # type: ignore[arg-type]
    result = run("inventory", "nvml", "--node-name", "box")
    (node,) = yaml.safe_load(result.stdout)["spec"]["nodes"]
    assert node["name"] == "box"
    assert [(item["class"], item["uuid"]) for item in node["devices"]] == [("nvidia-t4", "GPU-1")]
    assert run("inventory", "nvml", "-o", "name").stdout == "device/GPU-1\n"
    table = run("inventory", "nvml", "-o", "table").stdout.splitlines()
    assert table[0].split() == ["DEVICE", "UUID", "CLASS", "TOTAL", "RESERVED", "FOREIGN"]
    assert table[1].split()[:4] == ["0", "GPU-1", "nvidia-t4", "15Gi"]
    header, row = run("inventory", "nvml", "-o", "wide", "--node-name", "box").stdout.splitlines()
    assert header.startswith(table[0])
    assert header.split()[6:] == ["FREE", "PRODUCT", "MIG", "PROFILE", "CUT", "FROM", "NODE", "DRIVER"]
    assert row.split()[6:] == ["13.6Gi", "Tesla-T4", "-", "-", "box", "570.1"]


def test_without_pynvml_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # type: ignore[arg-type]
    result = run("inventory", "nvml")
    assert result.exit_code == 2
    assert result.stderr == "this command needs pynvml: in a clone, pip install '.[nvml]'\n"
