"""The documents that say what a model server should hold: placement documents and KServe's ``models.json``.

This module is owned by their reader and is the contract between planner and agent: the planner writes with
``placement_chunks`` and ``models_json``, the agent reads with ``read_placement`` and ``read_models_json``.
The JSON Schema of a placement document is shipped beside it as ``placement.schema.json``. Standard library
only.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

VERSION = 1
MODELS_JSON = "models.json"
MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
"""Names that can be a path segment of a URL without encoding and a directory: Triton decodes no URL."""

URI_SCHEMES = ("file", "pvc", "http", "https", "s3", "gs", "az", "abfs", "abfss", "hf")
"""The schemes of a ``storageUri`` that the agent fetches; any other ends as a failed download."""

DeviceKind = Literal["gpu", "cpu"]
TargetState = Literal["resident", "standby"]
ProbeKind = Literal["none", "ready", "infer"]
PROBE_KINDS: tuple[ProbeKind, ...] = ("none", "ready", "infer")


class DocumentError(ValueError):
    """A placement document, a set of them or a ``models.json`` that cannot be obeyed; says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredDevice:
    """Where a model's instances run: ``index`` is an ordinal among the devices that the server sees.

    ``uuid``, if given, wins over ``index``.
    """

    kind: DeviceKind
    index: int = 0
    uuid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredModel:
    """One model that the server should hold.

    Parameters
    ----------
    name
        The model's name on the server.
    storage_uri
        Where its files are.
    framework
        As in the TrainedModel.
    memory_bytes
        Planned host memory.
    devices
        Where it is pinned, one or more; empty is unpinned (only ``models.json`` says so).
    instances
        Instances on each device.
    load_peak_bytes, steady_bytes
        Planned device memory on each device, while loading and afterwards.
    order
        Smaller is loaded first.
    state
        ``resident`` is loaded; ``standby`` is only downloaded.
    probe
        How it is looked at after its load: not, by its ready endpoint, or by a test inference as well; None
        leaves that to the agent's settings, and is not written.
    """

    name: str
    storage_uri: str
    framework: str
    memory_bytes: int
    devices: tuple[DesiredDevice, ...] = ()
    instances: int = 1
    load_peak_bytes: int = 0
    steady_bytes: int = 0
    order: int = 0
    state: TargetState = "resident"
    probe: ProbeKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedCost:
    """What the plan reckons on a GPU beside the models: the server's context and pool, its backends' bases.

    ``index`` is an ordinal among the devices that the server sees; ``uuid``, if given, wins over it.
    """

    index: int
    uuid: str | None = None
    fixed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What a server should hold, whole.

    Parameters
    ----------
    shard
        The shard's name; None when only a ``models.json`` was found.
    runtime
        The server's kind; None when only a ``models.json`` was found.
    generation
        Hash of the content: equal generations ask for the same.
    models
        Sorted by name.
    fixed
        Of each GPU; empty where the documents do not say. They ask for nothing: no part of the generation.
    """

    shard: str | None
    runtime: str | None
    generation: str
    models: tuple[DesiredModel, ...]
    fixed: tuple[FixedCost, ...] = ()


_AT_ONCE = 256  # entries, by which a hash is made: with more it takes more memory, with fewer more time
_dumps: Callable[[object], str] = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


# ---------------------------------------------------------------------------------------------- models.json


def models_json(models: Iterable[DesiredModel]) -> str:
    """Return KServe's ``models.json``, sorted by name; memory in plain bytes."""
    entries = [
        {
            "modelName": model.name,
            "modelSpec": {
                "storageUri": model.storage_uri,
                "framework": model.framework,
                "memory": str(model.memory_bytes),
            },
        }
        for model in sorted(models, key=lambda model: model.name)
    ]
    return json.dumps(entries, separators=(",", ":"))


def read_models_json(text: str) -> Desired:
    """Return what a ``models.json`` asks for: everything resident and unpinned.

    Raises
    ------
    DocumentError
        Not a list of entries, a bad or a doubled name, a missing field.
    """
    entries = _loads(text, MODELS_JSON)
    if not isinstance(entries, list):
        raise DocumentError(f"{MODELS_JSON}: expected a list of models, found {type(entries).__name__}")
    models: dict[str, DesiredModel] = {}
    for position, entry in enumerate(entries):
        where = f"{MODELS_JSON}[{position}]"
        name = _model_name(_field(entry, "modelName", str, where), where)
        spec = _field(entry, "modelSpec", dict, where)
        if name in models:
            raise DocumentError(f"{where}.modelName: {name!r} stands twice")
        models[name] = DesiredModel(
            name=name,
            storage_uri=_field(spec, "storageUri", str, f"{where}.modelSpec"),
            framework=_field(spec, "framework", str, f"{where}.modelSpec"),
            memory_bytes=_quantity(spec.get("memory", 0), f"{where}.modelSpec.memory"),
        )
    ordered = tuple(models[name] for name in sorted(models))
    return Desired(shard=None, runtime=None, generation=_generation(ordered), models=ordered)


# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/, from a byte upwards.
_SUFFIXES: dict[str, int] = {
    "": 1,
    **{suffix: 1000**power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": 1024**power for power, suffix in enumerate("KMGTPE", start=1)},
    **{f"{e}{power}": 10**power for e in "eE" for power in range(19)},
}


def _quantity(value: object, where: str) -> int:
    match = re.fullmatch(r"([0-9]{1,19})(?:\.([0-9]{0,9}))?([A-Za-z]{0,2}[0-9]{0,2})", str(value))
    if match is None or match[3] not in _SUFFIXES:
        raise DocumentError(f"{where}: {str(value)[:40]!r} is not an amount of memory, as 1Gi")
    fraction = match[2] or ""
    units = int(match[1] + fraction) * _SUFFIXES[match[3]]
    amount = units // int("1" + "0" * len(fraction))
    if amount > _MOST:
        raise DocumentError(f"{where}: {str(value)[:40]!r} is 2^63 bytes or more")
    return amount


# --------------------------------------------------------------------------------------- placement documents


def _model_entry(model: DesiredModel) -> dict[str, Any]:
    return {
        "storageUri": model.storage_uri,
        "framework": model.framework,
        "memoryBytes": model.memory_bytes,
        "devices": [
            {"kind": device.kind, "uuid": device.uuid, "index": device.index} for device in model.devices
        ],
        "instances": model.instances,
        "loadPeakBytes": model.load_peak_bytes,
        "steadyBytes": model.steady_bytes,
        "order": model.order,
        "state": model.state,
        **({} if model.probe is None else {"probe": model.probe}),
    }


def _generation(models: Sequence[DesiredModel]) -> str:
    """Return the hash of the entries as one JSON object, of models sorted by name; never whole in memory."""
    whole = hashlib.sha256(b"{")
    for start in range(0, len(models), _AT_ONCE):
        entries = {model.name: _model_entry(model) for model in models[start : start + _AT_ONCE]}
        whole.update(b"," if start else b"")
        whole.update(_dumps(entries)[1:-1].encode())
    whole.update(b"}")
    return whole.hexdigest()


def placement_chunks(
    *,
    shard: str,
    runtime: str,
    models: Iterable[DesiredModel],
    max_bytes: int,
    fixed: Iterable[FixedCost] = (),
) -> tuple[str, ...]:
    """Return the placement documents of a shard, at least one, each at most ``max_bytes`` long.

    Raises
    ------
    ValueError
        One model's entry alone does not fit into ``max_bytes``.
    """
    ordered = sorted(models, key=lambda model: model.name)
    head = {
        "version": VERSION,
        "shard": shard,
        "runtime": runtime,
        "generation": _generation(ordered),
        **_fixed_entry(fixed),
    }
    # Room for the head with two generous numbers for `chunk` and `chunks`.
    room = max_bytes - len(_dumps({**head, "chunk": 10**6, "chunks": 10**6, "models": {}}))
    chunks: list[dict[str, Any]] = [{}]
    used = 0
    for model in ordered:
        entry = _model_entry(model)
        size = len(_dumps({model.name: entry})) - 1  # braces off, comma on
        if size > room:
            raise ValueError(
                f"model {model.name!r} needs {size} bytes of a placement document of {max_bytes}"
            )
        if used + size > room:
            chunks.append({})
            used = 0
        chunks[-1][model.name] = entry
        used += size
    return tuple(
        _dumps({**head, "chunk": number, "chunks": len(chunks), "models": content})
        for number, content in enumerate(chunks)
    )


def _fixed_entry(fixed: Iterable[FixedCost]) -> dict[str, Any]:
    entries = [{"index": cost.index, "uuid": cost.uuid, "fixedBytes": cost.fixed_bytes} for cost in fixed]
    return {"devices": entries} if entries else {}


def read_placement(texts: Mapping[str, str], before: Iterable[DesiredModel] = ()) -> Desired:
    """Return what a complete set of placement documents asks for.

    Parameters
    ----------
    texts
        The documents by the name they are reported under (a file's name).
    before
        Models of an earlier set: of thousands most stay as they are, and those are not read once more.

    Raises
    ------
    DocumentError
        A document is not valid, chunks are missing, doubled or of different generations, or the content does
        not have the hash that the documents name.
    """
    if not texts:
        raise DocumentError("no placement document")
    heads: dict[str, _Head] = {}
    numbers: list[int] = []
    models: dict[str, DesiredModel] = {}
    known = {model.name: model for model in before}
    # One after the other: all of them parsed at once would be the most that the agent ever holds.
    for name, text in sorted(texts.items()):
        document = _loads(text, name)
        heads[name] = _read_head(document, name)
        numbers.append(_field(document, "chunk", int, name))
        head = _common_head(heads)
        for model_name, entry in _field(document, "models", dict, name).items():
            _check_text(model_name, f"{name}.models")
            if model_name in models:
                raise DocumentError(f"{name}.models: {model_name!r} stands in two documents")
            model = known.get(model_name)
            if model is None or not _is_unchanged(model, entry):
                model = _read_model(model_name, entry, f"{name}.models.{model_name}")
            models[model_name] = model
    if len(numbers) != head.chunks or sorted(numbers) != list(range(head.chunks)):
        raise DocumentError(
            f"incomplete set: {head.chunks} placement documents are announced, found {sorted(numbers)}"
        )
    ordered = tuple(models[name] for name in sorted(models))
    if _generation(ordered) != head.generation:
        raise DocumentError(f"generation: the content does not hash to {head.generation}")
    return Desired(
        shard=head.shard,
        runtime=head.runtime,
        generation=head.generation,
        models=ordered,
        fixed=head.fixed,
    )


_NUMBERS = ("memoryBytes", "instances", "loadPeakBytes", "steadyBytes", "order")


def _is_unchanged(model: DesiredModel, entry: Any) -> bool:
    """Return whether an entry says of a model what is known of it: ``true`` and ``1.0`` are no 1."""
    if entry != _model_entry(model):
        return False
    numbers = [entry[key] for key in _NUMBERS] + [device["index"] for device in entry["devices"]]
    return all(type(number) is int for number in numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """What all documents of a set have in common."""

    shard: str
    runtime: str
    generation: str
    chunks: int
    fixed: tuple[FixedCost, ...]


def _read_head(document: object, where: str) -> _Head:
    version = _field(document, "version", int, where)
    if version != VERSION:
        raise DocumentError(f"{where}.version: this agent reads version {VERSION}, found {version}")
    return _Head(
        shard=_field(document, "shard", str, where),
        runtime=_field(document, "runtime", str, where),
        generation=_field(document, "generation", str, where),
        chunks=_field(document, "chunks", int, where),
        fixed=_read_fixed(document, where),
    )


def _read_fixed(document: object, where: str) -> tuple[FixedCost, ...]:
    if not isinstance(document, dict) or "devices" not in document:
        return ()
    return tuple(
        FixedCost(
            index=_amount(entry, "index", f"{where}.devices[{i}]"),
            uuid=_read_uuid(entry, f"{where}.devices[{i}]"),
            fixed_bytes=_amount(entry, "fixedBytes", f"{where}.devices[{i}]"),
        )
        for i, entry in enumerate(_field(document, "devices", list, where))
    )


def _common_head(heads: Mapping[str, _Head]) -> _Head:
    if len(set(heads.values())) == 1:
        return next(iter(heads.values()))
    shards = sorted({head.shard for head in heads.values()})
    if len(shards) > 1:
        differ = f"shards ({', '.join(shards)})"
    else:
        same = len({head.generation for head in heads.values()}) == 1
        differ = "fixed costs" if same and len({head.fixed for head in heads.values()}) > 1 else "generations"
    raise DocumentError(f"the placement documents are of different {differ}: {', '.join(heads)}")


def _read_model(name: str, entry: object, where: str) -> DesiredModel:
    state = _field(entry, "state", str, where)
    if state not in ("resident", "standby"):
        raise DocumentError(f"{where}.state: {state!r} is neither resident nor standby")
    devices = _field(entry, "devices", list, where)
    return DesiredModel(
        name=_model_name(name, where),
        storage_uri=_field(entry, "storageUri", str, where),
        framework=sys.intern(_field(entry, "framework", str, where)),
        memory_bytes=_amount(entry, "memoryBytes", where),
        devices=tuple(_read_device(device, f"{where}.devices[{i}]") for i, device in enumerate(devices)),
        instances=max(1, _amount(entry, "instances", where)),
        load_peak_bytes=_amount(entry, "loadPeakBytes", where),
        steady_bytes=_amount(entry, "steadyBytes", where),
        order=_field(entry, "order", int, where),
        state="standby" if state == "standby" else "resident",
        probe=_read_probe(entry, where),
    )


def _read_probe(entry: object, where: str) -> ProbeKind | None:
    if not isinstance(entry, dict) or "probe" not in entry:
        return None
    found = entry["probe"]
    for kind in PROBE_KINDS:
        if found == kind:
            return kind
    raise DocumentError(f"{where}.probe: {found!r} is none of {', '.join(PROBE_KINDS)}")


def _read_device(device: object, where: str) -> DesiredDevice:
    kind = _field(device, "kind", str, where)
    if kind not in ("gpu", "cpu"):
        raise DocumentError(f"{where}.kind: {kind!r} is neither gpu nor cpu")
    index, uuid = _amount(device, "index", where), _read_uuid(device, where)
    return _device("cpu" if kind == "cpu" else "gpu", index, uuid)


@lru_cache(maxsize=1024)
def _device(kind: DeviceKind, index: int, uuid: str | None) -> DesiredDevice:
    """Return a device, the same one for all models that are on it."""
    return DesiredDevice(kind=kind, index=index, uuid=uuid)


def _read_uuid(device: object, where: str) -> str | None:
    uuid = device.get("uuid") if isinstance(device, dict) else None
    if uuid is None:
        return None
    if not isinstance(uuid, str):
        raise DocumentError(f"{where}.uuid: expected text or null")
    _check_text(uuid, f"{where}.uuid")
    return uuid


# ------------------------------------------------------------------------------------------------ small steps


def _loads(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{where}: not JSON: {error}") from None


_MOST = (1 << 63) - 1  # what programs beyond this one can count to, metrics' floats among them


def _field(value: object, key: str, kind: type[Any], where: str) -> Any:
    if not isinstance(value, dict):
        raise DocumentError(f"{where}: expected an object, found {type(value).__name__}")
    found: Any = value.get(key)
    if type(found) is not kind:
        raise DocumentError(f"{where}.{key}: expected {kind.__name__}, found {type(found).__name__}")
    if kind is int and not -_MOST <= found <= _MOST:
        raise DocumentError(f"{where}.{key}: a number of 2^63 or more")
    if kind is str and not found.isascii():
        _check_text(found, f"{where}.{key}")
    return found


def _check_text(text: str, where: str) -> None:
    """Refuse half a character, which JSON can write and no answer or file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(f"{where}: {text[:40]!r} is not text: {error.reason}") from None


def _amount(value: object, key: str, where: str) -> int:
    amount: int = _field(value, key, int, where)
    if amount < 0:
        raise DocumentError(f"{where}.{key}: {amount} is negative")
    return amount


def _model_name(name: str, where: str) -> str:
    if not MODEL_NAME.fullmatch(name):
        raise DocumentError(f"{where}: {name!r} is not a model name: letters, digits, '.', '_' and '-' only")
    return name
