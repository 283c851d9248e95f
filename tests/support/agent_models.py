"""Builders for the agent's tests: they say only what a test is about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.actions import Install
from agent.desired import Desired, DesiredDevice, DesiredModel, placement_chunks
from agent.observed import Copy, Observed, Seen
from agent.pins import Target, pin_of
from agent.servers.port import IndexRow

URI = "file:///models/m"
CPU = (DesiredDevice(kind="cpu"),)


def on_gpu(*ordinals: int) -> tuple[DesiredDevice, ...]:
    return tuple(DesiredDevice(kind="gpu", index=ordinal) for ordinal in ordinals)


def wanted(name: str = "m", **fields: Any) -> DesiredModel:
    return DesiredModel(
        **{"name": name, "storage_uri": URI, "framework": "sim", "memory_bytes": 1, "devices": CPU, **fields}
    )


def target(name: str = "m", **fields: Any) -> Target:
    model = wanted(name, **fields)
    return Target(model=model, pin=pin_of(model, visible=None))


def copy(storage_uri: str | None = URI, *, loaded_on: Target | None = None) -> Copy:
    if loaded_on is None or loaded_on.pin is None:
        return Copy(storage_uri=storage_uri)
    pin = loaded_on.pin
    return Copy(storage_uri=storage_uri, loaded_pin=pin.instance_group or "", loaded_devices=pin.devices)


def install(one: Target) -> Install:
    assert one.pin is not None
    return Install(name=one.model.name, pin=one.pin, framework=one.model.framework)


def row(state: Any) -> IndexRow:
    return IndexRow(state)


def observed(models: Mapping[str, Seen], *, live: bool = True, now_s: float = 100.0) -> Observed:
    return Observed(models=models, server_live=live, now_s=now_s)


def desired(*models: DesiredModel) -> Desired:
    return Desired(shard="news-1", runtime="triton", generation="g", models=models)


def documents(*models: DesiredModel, max_bytes: int = 900_000) -> dict[str, str]:
    """Return placement documents by file name."""
    chunks = placement_chunks(shard="news-1", runtime="triton", models=models, max_bytes=max_bytes)
    return {f"placement-{number}.json": chunk for number, chunk in enumerate(chunks)}


def model_folder(folder: Path, *, parameters: dict[str, str] | None = None) -> str:
    """Write a model of the sim backend and return its URI."""
    (folder / "1").mkdir(parents=True)
    given = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in (parameters or {}).items()
    )
    (folder / "config.pbtxt").write_text(
        'backend: "sim"\nmax_batch_size: 0\n'
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
        'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]\n' + given
    )
    (folder / "1" / "weights").write_text(folder.name)
    return folder.as_uri()
