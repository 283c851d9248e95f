"""A model: the thing that is placed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from planner.domain.canonical import OMITTED_WHEN_EMPTY
from planner.domain.fleet import DeviceClass, Labels
from planner.domain.footprint import ANY_CLASS, FootprintOption, uses_device

Probe = Literal["none", "ready", "infer"]
"""How the agent looks at a model after its load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Where replica 0 of a model has to be: a shard by name and, if given, the ordinal of its device."""

    shard: str
    device: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A TrainedModel.

    Parameters
    ----------
    name
        Unique in the scenario, ``[a-z0-9]([-a-z0-9]*[a-z0-9])?``.
    backend
        Triton's backend, or a framework for servers that have no backends.
    framework
        What the TrainedModel says; None derives it from the backend.
    storage_uri
        Where the model's files are.
    replicas
        Shards that hold a copy of it, at least 1.
    priority
        Higher is placed first.
    tenant
        Whose it is; None belongs to nobody in particular.
    together
        Models with the same key share a shard, replica by replica; None is on its own.
    devices_per_replica
        1, or the number of whole devices of one shard that a replica takes for itself.
    pin
        Where replica 0 has to be; None is anywhere.
    probe
        How the agent looks at it after its load: not, by its ready endpoint, or by a test inference as well;
        None leaves that to the agent's own settings.
    labels
        For people and reports.
    footprints
        Its options, at least one.
    transformer
        What its requests pass through, by name; None goes straight to its shards.
    """

    name: str
    backend: str
    framework: str | None = None
    storage_uri: str
    replicas: int = 1
    priority: int = 0
    tenant: str | None = None
    together: str | None = None
    devices_per_replica: int = 1
    pin: Pin | None = None
    probe: Probe | None = None
    labels: Labels = ()
    footprints: tuple[FootprintOption, ...]
    transformer: str | None = field(default=None, metadata=OMITTED_WHEN_EMPTY)


def options_for(model: Model, device_class: DeviceClass) -> tuple[int, ...]:
    """Return the indices of the options that stand for a device class.

    Options that name the class win over ``*``; a ``*`` that uses a GPU does not stand for a CPU. Empty when
    the model is not allowed there.
    """
    own = tuple(i for i, option in enumerate(model.footprints) if option.device_class == device_class.name)
    if own:
        return own
    return tuple(
        i
        for i, option in enumerate(model.footprints)
        if option.device_class == ANY_CLASS and (device_class.kind == "gpu" or not uses_device(option))
    )


def stands_for(model: Model, option: int, device_class: DeviceClass) -> bool:
    """Return whether an option is one of ``options_for`` a device class."""
    names_it = model.footprints[option].device_class == device_class.name
    return names_it or option in options_for(model, device_class)


# What KServe calls the formats of Triton's backends (serving runtime `kserve-tritonserver`).
_FRAMEWORKS = {"onnxruntime": "onnx", "libtorch": "pytorch", "tensorrt_plan": "tensorrt"}


def framework_of(model: Model) -> str:
    """Return the framework that the model's TrainedModel names."""
    return model.framework or _FRAMEWORKS.get(model.backend, model.backend)
