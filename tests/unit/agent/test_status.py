from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.actions import Action, Download, Unload
from agent.desired import FixedCost
from agent.errors import PinError
from agent.memory import DeviceMemory, Memory
from agent.metrics import Metrics
from agent.observed import NOTHING, Copy, Failure, Seen
from agent.outcomes import Downloaded, Dropped, Failed, Loaded
from agent.pins import Target
from agent.servers.port import Control, ServerInfo
from agent.status import Snapshot, attempted, state_of, status_text
from tests.support.agent_models import URI, copy, desired, install, on_gpu, row, target

M = target()
STANDBY = target(state="standby")
FAULTY = Target(model=M.model, pin=None, fault=PinError("DeviceNotVisible", "it is not there"))
DOWNLOAD = Download(name="m", storage_uri=URI, urgency=(0, 0))
GPU = DeviceMemory(uuid="GPU-a", index=0, total_bytes=100, reserved_bytes=10, used_bytes=50)
SCHEMA = json.loads(files("agent").joinpath("status.schema.json").read_text())


def failed(state: Any, reason: str = "x", attempts: int = 1) -> Failure:
    return Failure(state=state, reason=reason, message="why", attempts=attempts, retry_at_s=0.0)


OLD = "file:///old"
UPDATE_FAILED = Seen(
    installed=copy(OLD, loaded_on=M),
    staged=copy(),
    row=row("READY"),
    setback=failed("FailedToLoad", "LoadRefused", 3),
)
MOVE_FAILED = Seen(installed=copy(), row=row("READY"), failure=failed("FailedToLoad", "NoRoom", 2))


@pytest.mark.parametrize(
    ("wanted", "seen", "action", "state"),
    [
        (M, NOTHING, None, "Pending"),
        (M, NOTHING, DOWNLOAD, "Downloading"),
        (M, Seen(staged=copy()), install(target()), "Downloading"),
        (M, Seen(failure=failed("DownloadFailed")), None, "DownloadFailed"),
        (M, Seen(failure=failed("DownloadFailed")), DOWNLOAD, "Downloading"),
        (M, Seen(installed=copy()), None, "Pending"),
        (M, Seen(installed=copy(), row=row("LOADING")), None, "Loading"),
        (M, Seen(installed=copy(loaded_on=M), row=row("READY")), None, "Loaded"),
        (M, Seen(installed=copy(), row=row("READY")), None, "Pending"),
        (M, Seen(installed=copy(), failure=failed("FailedToLoad")), None, "FailedToLoad"),
        (FAULTY, Seen(installed=copy()), None, "FailedToLoad"),
        (STANDBY, Seen(installed=copy()), None, "Standby"),
        (STANDBY, Seen(staged=copy()), None, "Standby"),
        (STANDBY, Seen(installed=copy(), row=row("READY")), None, "Pending"),
        (M, Seen(installed=copy(), row=row("UNLOADING")), None, "Unloading"),
        (None, Seen(installed=copy(), row=row("READY")), Unload(name="m", devices=()), "Unloading"),
        (None, Seen(installed=copy()), None, "Unloading"),
        (M, UPDATE_FAILED, None, "Loaded"),
        (M, UPDATE_FAILED, DOWNLOAD, "Downloading"),
        (M, replace(UPDATE_FAILED, row=None), None, "Pending"),
        (M, replace(UPDATE_FAILED, row=None, failure=failed("FailedToLoad")), None, "FailedToLoad"),
        (None, UPDATE_FAILED, None, "Unloading"),
        (M, MOVE_FAILED, None, "Loaded"),
        (M, replace(MOVE_FAILED, failure=failed("FailedToLoad", "ProbeFailed")), None, "FailedToLoad"),
        (M, replace(MOVE_FAILED, failure=failed("Unloading")), None, "Unloading"),
    ],
)
def test_states(wanted: Target | None, seen: Seen, action: Action | None, state: str) -> None:
    assert state_of(wanted, seen, action) == state


@pytest.mark.parametrize(
    ("wanted", "seen", "answer"),
    [
        (M, NOTHING, False),
        (M, Seen(installed=copy()), False),
        (M, Seen(installed=copy(), row=row("LOADING")), False),
        (M, Seen(installed=copy(), row=row("READY")), True),
        (M, Seen(installed=copy("file:///old"), row=row("READY")), False),
        (M, Seen(failure=failed("DownloadFailed")), False),
        (M, Seen(failure=failed("DownloadFailed", attempts=3)), True),
        (M, Seen(failure=replace(failed("DownloadFailed"), retry="late")), True),
        (M, Seen(failure=failed("FailedToLoad")), True),
        (M, Seen(failure=failed("FailedToLoad", "ServerUnreachable", 2)), False),
        (M, Seen(failure=failed("FailedToLoad", "ServerUnreachable", 3)), True),
        (M, Seen(failure=replace(failed("FailedToLoad", "ServerUnreachable", 1), hung=1)), True),
        (FAULTY, NOTHING, True),
        (STANDBY, Seen(installed=copy()), True),
        (M, UPDATE_FAILED, True),
        (M, replace(UPDATE_FAILED, row=None), False),
    ],
)
def test_attempted(wanted: Target, seen: Seen, *, answer: bool) -> None:
    assert attempted(wanted, seen) is answer


def snapshot(**changes: Any) -> Snapshot:
    targets = {name: target(name, devices=on_gpu(0), steady_bytes=7) for name in ("a", "b", "c")}
    whole = Copy(storage_uri=URI, total_bytes=5, download_seconds=0.12345)
    base = Snapshot(
        desired=desired(*(one.model for one in targets.values())),
        document_fault=None,
        targets=targets,
        models={
            "a": Seen(installed=whole, row=row("READY"), load_seconds=0.25),
            "b": Seen(failure=failed("DownloadFailed", "NotFound", 2)),
        },
        running={},
        since={
            "a": ("Loaded", 0.0),
            "b": ("DownloadFailed", 1.0),
            "c": ("Pending", 2.0),
            "z": ("Unloading", 3.0),
        },
        observed_generation="g",
        ready=True,
        live=True,
        server=ServerInfo(kind="triton", version="2.51.0"),
        server_since=86_400.0,
    )
    return replace(base, **changes)


def status_document(*whole: Any, **page: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(status_text(*whole, **page))
    return document


def test_the_document_satisfies_its_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = status_document(snapshot(), Memory(devices=(GPU,)), limit=None, after=None)
    jsonschema.validate(document, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert list(document["models"]) == ["a", "b", "c", "z"]
    assert document["server"]["startedAt"] == "1970-01-02T00:00:00Z"
    assert document["models"]["a"] == {
        "state": "Loaded",
        "reason": None,
        "message": None,
        "since": "1970-01-01T00:00:00Z",
        "attempts": 0,
        "bytes": 5,
        "downloadSeconds": 0.123,
        "loadSeconds": 0.25,
        "device": "gpu:0",
        "plannedBytes": 7,
        "measuredBytes": None,
        "storageUri": URI,
        "servedUri": URI,
        "digest": None,
    }
    assert (document["models"]["b"]["reason"], document["models"]["b"]["attempts"]) == ("NotFound", 2)


@pytest.mark.parametrize(
    ("visible", "fixed", "told"),
    [
        (None, 0, True),  # nothing says that there is only one GPU
        (("GPU-a", "GPU-b"), 1, True),
        (("GPU-a",), 0, False),
        (None, 1, False),
        (None, 2, True),
    ],
)
def test_a_pin_that_is_not_enforced_is_told_where_there_is_another_gpu(
    visible: tuple[str, ...] | None, fixed: int, told: bool
) -> None:
    models = {"a": Seen(installed=Copy(storage_uri=URI, unenforced="its code decides"), row=row("READY"))}
    costs = tuple(FixedCost(index=index, fixed_bytes=1) for index in range(fixed))
    plan = replace(desired(target("a", devices=on_gpu(0)).model), fixed=costs)
    changed = snapshot(models=models, visible=visible, desired=plan)
    entry = status_document(changed, Memory(), limit=1, after=None)["models"]["a"]
    expected = ("PinNotEnforced", "its code decides") if told else (None, None)
    assert (entry["state"], entry["reason"], entry["message"]) == ("Loaded", *expected)


def test_a_failed_update_is_told_with_what_serves() -> None:
    lost = Seen(installed=copy(), former=copy(OLD), row=row("READY"))
    models = {"a": UPDATE_FAILED, "b": MOVE_FAILED, "c": lost}
    since = {name: (state_of(M, seen, None), 0.0) for name, seen in models.items()}
    told = snapshot(models=models, since=since)
    document = status_document(told, Memory(), limit=None, after=None)
    jsonschema.validate(document, SCHEMA)
    keys = ("state", "reason", "message", "attempts", "storageUri", "servedUri")
    assert [[document["models"][name][key] for key in keys] for name in ("a", "b")] == [
        ["Loaded", "UpdateFailed", "LoadRefused: why; what was there before serves on", 3, OLD, OLD],
        ["Loaded", "UpdateFailed", "NoRoom: why; what was there before serves on", 2, URI, URI],
    ]
    assert document["models"]["c"]["servedUri"] is None  # either of two may serve
    text = Metrics(snapshot=lambda: told, memory=Memory, most_models=9).text().decode()
    assert "shardpack_agent_failed_updates 2.0" in text


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({}, None, None),
        ({"freeing": {"gpu:0": "dead"}}, "WaitsForUnload", "dead is being unloaded on gpu:0"),
        ({"freeing": {"gpu:1": "dead"}}, None, None),
        ({"live": False, "server_fault": "refused"}, "NoServer", "refused"),
    ],
)
def test_what_comes_first_is_told_of_a_model_whose_files_are_there(
    changes: dict[str, Any], reason: str | None, message: str | None
) -> None:
    models = {name: Seen(installed=copy()) for name in ("a", "b")}
    since = dict.fromkeys("abc", ("Pending", 0.0))
    told = snapshot(models=models, since=since, **changes)
    document = status_document(told, Memory(), limit=None, after=None)
    jsonschema.validate(document, SCHEMA)
    entries = [document["models"][name] for name in "abc"]
    assert [(entry["reason"], entry["message"]) for entry in entries] == [(reason, message)] * 2 + [
        (None, None)
    ]


def test_that_an_old_copy_made_room_is_told() -> None:
    short = replace(failed("FailedToLoad", "OutOfMemory", 2), short=2)
    leaves = replace(UPDATE_FAILED, setback=short, row=row("UNLOADING"), unload_asked_at_s=0.0)
    loads = Seen(installed=copy(), former=copy(OLD), setback=short)
    names = dict.fromkeys("abc", M)
    told = snapshot(
        targets=names, models={"a": leaves, "b": loads, "c": replace(leaves, unload_asked_at_s=None)}
    )
    models = status_document(told, Memory(), limit=None, after=None)["models"]
    reason = ("UnloadedFirst", "the old and the new copy have no room together (OutOfMemory: why)")
    assert [(models[name]["reason"], models[name]["message"]) for name in "ab"] == [reason, reason]
    assert models["c"]["reason"] == "OldCopyLeaves"  # for another reason


def test_before_anything_is_known_the_document_is_valid_too() -> None:
    empty = snapshot(
        desired=None, document_fault="none", targets={}, models={}, since={}, observed_generation=None,
        ready=False, live=False, server=None, server_since=None,
    )  # fmt: skip
    jsonschema.validate(status_document(empty, Memory(), limit=5, after=None), SCHEMA)


def test_pages_join_to_the_whole() -> None:
    whole = status_document(snapshot(), Memory(), limit=None, after=None)["models"]
    found: dict[str, Any] = {}
    after = None
    for _ in range(4):
        page = status_document(snapshot(), Memory(), limit=3, after=after)
        found |= page["models"]
        after = page["continue"]
        if after is None:
            break
    assert found == whole
    assert status_document(snapshot(), Memory(), limit=4, after=None)["continue"] is None


def test_whose_the_memory_is_stands_beside_each_device() -> None:
    known = replace(GPU, server_bytes=30)
    held = Seen(installed=copy(loaded_on=target("a", devices=on_gpu(0))), row=row("READY"))
    fixed = (FixedCost(index=0, fixed_bytes=10),)
    told = snapshot(desired=replace(desired(), fixed=fixed), models={"a": held})
    document = status_document(
        told, Memory(devices=(known,), server_resident_bytes=5), limit=None, after=None
    )
    jsonschema.validate(document, SCHEMA)
    assert document["server"]["residentBytes"] == 5
    assert document["devices"] == [
        {
            "uuid": "GPU-a",
            "index": 0,
            "totalBytes": 100,
            "reservedBytes": 10,
            "usedBytes": 50,
            "fixedBytes": 10,
            "plannedBytes": 21,
            "foreignBytes": 20,
            "residualBytes": 13,
        }
    ]


def test_how_loads_are_sent_is_told() -> None:
    told = snapshot(control=Control(transport="http", fault="nobody listens"))
    server = status_document(told, Memory(), limit=None, after=None)["server"]
    assert (server["control"], server["controlFault"]) == ("http", "nobody listens")
    text = Metrics(snapshot=lambda: told, memory=Memory, most_models=0).text().decode()
    assert "shardpack_agent_control_fallback 1.0" in text


def metrics(most_models: int = 10, memory: Memory = Memory(devices=(GPU,))) -> Metrics:  # noqa: B008 - a value
    return Metrics(snapshot=snapshot, memory=lambda: memory, most_models=most_models)


def test_metrics_tell_states_and_memory() -> None:
    text = metrics().text().decode()
    for line in (
        'shardpack_agent_models{state="Loaded"} 1.0',
        'shardpack_agent_models{state="Standby"} 0.0',
        'shardpack_agent_model_state{model="b",state="DownloadFailed"} 1.0',
        'shardpack_gpu_memory_capacity_bytes{gpu_uuid="GPU-a"} 90.0',
        'shardpack_gpu_memory_used_bytes{gpu_uuid="GPU-a"} 50.0',
        'shardpack_gpu_memory_planned_bytes{gpu_uuid="GPU-a"} 21.0',
        "shardpack_agent_ready 1.0",
        "shardpack_agent_server_live 1.0",
        "shardpack_agent_documents_faulty 0.0",
    ):
        assert line in text


def test_what_cannot_be_told_has_no_metric() -> None:
    text = metrics().text().decode()
    assert "shardpack_gpu_memory_foreign_bytes{" not in text
    assert "shardpack_gpu_memory_unattributed_bytes{" not in text
    assert "shardpack_server_resident_memory_bytes" not in text
    known = Memory(devices=(replace(GPU, server_bytes=30),), server_resident_bytes=5)
    text = metrics(memory=known).text().decode()
    assert 'shardpack_gpu_memory_foreign_bytes{gpu_uuid="GPU-a"} 20.0' in text
    assert "shardpack_server_resident_memory_bytes 5.0" in text


def test_above_the_bound_there_is_no_metric_a_model() -> None:
    text = metrics(most_models=3).text().decode()
    assert "shardpack_agent_model_state{" not in text
    assert 'shardpack_agent_models{state="Loaded"} 1.0' in text


def test_actions_are_counted() -> None:
    counted = metrics()
    counted.count(DOWNLOAD, Downloaded(copy=Copy(total_bytes=9, fetched_bytes=5, download_seconds=0.5)))
    counted.count(DOWNLOAD, Failed(state="DownloadFailed", reason="x", message="x", retry="late"))
    counted.count(DOWNLOAD, Loaded(copy=Copy(), seconds=2.0))
    text = counted.text().decode()
    assert 'shardpack_agent_actions_total{action="download",outcome="failed"} 1.0' in text
    assert "shardpack_agent_downloaded_bytes_total 5.0" in text
    assert "shardpack_agent_load_duration_seconds_sum 2.0" in text


def test_a_dropped_download_is_not_a_done_one() -> None:
    counted = metrics()
    counted.count(DOWNLOAD, Dropped())
    assert 'shardpack_agent_actions_total{action="download",outcome="dropped"} 1.0' in counted.text().decode()


def test_metrics_are_what_prometheus_reads() -> None:
    families = {family.name: family for family in text_string_to_metric_families(metrics().text().decode())}
    assert all(name.startswith("shardpack_") for name in families)
    assert all(family.documentation and family.type != "unknown" for family in families.values())


def test_a_signed_uri_is_told_without_its_signature() -> None:
    signed = copy("https://user:secret@store/m.zip?X-Amz-Signature=secret")
    document = status_document(
        snapshot(targets={"m": target()}, models={"m": Seen(installed=signed)}),
        Memory(),
        limit=None,
        after=None,
    )
    assert document["models"]["m"]["storageUri"] == "https://store/m.zip"
    assert "secret" not in json.dumps(document)


def test_a_model_that_does_not_answer_is_told_as_failed_while_it_leaves() -> None:
    sick = Failure(state="FailedToLoad", reason="ProbeFailed", message="dead", attempts=1, retry_at_s=1e9)
    seen = Seen(installed=copy(), row=row("UNLOADING"), failure=sick)
    assert state_of(target(), seen, None) == "FailedToLoad"
    assert state_of(None, seen, None) == "Unloading"
