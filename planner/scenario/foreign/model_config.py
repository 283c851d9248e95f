"""Triton's ``config.pbtxt``: the fields that placing needs.

Their names and meanings are those of ``inference.ModelConfig`` (``triton-inference-server/common``,
``protobuf/model_config.proto``, 2026); all others are passed over, whatever they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from planner.errors import Fault, InputError
from planner.scenario.foreign.text_proto import Message, TextProtoError, parse_text_proto

LONGEST = 4 * 2**20
"""Characters of a config; the longest that anybody writes have some thousands."""

Kind = Literal["KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"]
_KINDS: tuple[Kind, ...] = get_args(Kind)
_LARGEST = 2**31 - 1

_PLATFORMS = {
    "onnxruntime_onnx": "onnxruntime",
    "tensorrt_plan": "tensorrt",
    "pytorch_libtorch": "pytorch",
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
    "ensemble": "ensemble",
}
"""Backends by the older field ``platform``; any other platform is a backend's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    """Instances of a model: ``count`` of them on each of ``gpus``, or on each GPU where none is named."""

    kind: Kind
    count: int
    gpus: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What a config says.

    Parameters
    ----------
    name
        The model's; empty is its folder's.
    backend
        Who runs it; empty if the config does not say.
    max_batch
        The largest batch, 0 for a model without batches.
    groups
        Its instance groups, passive ones left out; none is the backend's choice.
    steps
        The models that an ensemble calls.
    versions
        Which versions are loaded: the newest n, all (None), or those named.
    """

    name: str = ""
    backend: str = ""
    max_batch: int = 0
    groups: tuple[InstanceGroup, ...] = ()
    steps: tuple[str, ...] = ()
    versions: int | tuple[int, ...] | None = 1


def parse_config(text: str, *, file: str) -> ModelConfig:
    """Return what a config says.

    Raises
    ------
    InputError
        It is not protobuf text format, or a field has a value that is not of its type.
    """
    if len(text) > LONGEST:
        raise InputError([Fault(path="", file=file, message=f"is longer than {LONGEST:,} characters")])
    try:
        message = parse_text_proto(text)
    except TextProtoError as error:
        fault = Fault(path="", file=file, line=error.line, message=f"is no model configuration: {error}")
        raise InputError([fault]) from None
    try:
        return _config(message)
    except _FieldError as error:
        raise InputError([Fault(path=error.path, file=file, message=error.message)]) from None


class _FieldError(Exception):
    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path, self.message = path, message


def _config(message: Message) -> ModelConfig:
    platform = _text(message, "platform")
    groups = [
        _group(part, f"instance_group[{index}]")
        for index, part in enumerate(_parts(message, "instance_group"))
    ]
    ensembles = _parts(message, "ensemble_scheduling")
    steps = [step for part in ensembles for step in _parts(part, "step")]
    return ModelConfig(
        name=_text(message, "name"),
        backend=_text(message, "backend") or _PLATFORMS.get(platform, platform),
        max_batch=_number(message, "max_batch_size"),
        groups=tuple(group for group in groups if group is not None),
        steps=tuple(_text(step, "model_name") for step in steps),
        versions=_versions(message),
    )


def _group(part: Message, path: str) -> InstanceGroup | None:
    """Return an instance group; None for a passive one, whose instances no request reaches."""
    if _text(part, "passive") == "true":
        return None
    kind = _text(part, "kind") or "KIND_AUTO"
    found = next((known for number, known in enumerate(_KINDS) if kind in (known, str(number))), None)
    if found is None:
        raise _FieldError(f"{path}.kind", f"{kind!r} is not one of {', '.join(_KINDS)}")
    count = _number(part, "count", path)
    return InstanceGroup(kind=found, count=max(1, count), gpus=tuple(_numbers(part, "gpus", path)))


def _versions(message: Message) -> int | tuple[int, ...] | None:
    for policy in _parts(message, "version_policy"):
        if "all" in policy:
            return None
        for part in _parts(policy, "specific"):
            return tuple(_numbers(part, "versions", "version_policy.specific"))
        for part in _parts(policy, "latest"):
            return max(1, _number(part, "num_versions", "version_policy.latest"))
    return 1


# ------------------------------------------------------------------------------------------------ small steps


def _parts(message: Message, name: str) -> list[Message]:
    """Return the messages of a field."""
    found = message.get(name, [])
    for value in found:
        if not isinstance(value, dict):
            raise _FieldError(name, f"expected a message in braces, found {value[:40]!r}")
    return [value for value in found if isinstance(value, dict)]


def _text(message: Message, name: str) -> str:
    """Return the last value of a field; empty without one."""
    found = message.get(name, [""])[-1:]
    if not found or isinstance(found[0], dict):
        raise _FieldError(name, "expected one value")
    return found[0]


def _number(message: Message, name: str, path: str = "") -> int:
    return next(iter(_numbers(message, name, path)[-1:]), 0)


def _numbers(message: Message, name: str, path: str = "") -> list[int]:
    """Return the values of a field of whole numbers."""
    found = []
    for value in message.get(name, []):
        place = f"{path}.{name}" if path else name
        if (
            not isinstance(value, str)
            or not value.isascii()
            or not value.isdecimal()
            or int(value[:20]) > _LARGEST
        ):
            shown = "a message" if isinstance(value, dict) else repr(value[:40])
            raise _FieldError(place, f"expected a whole number from 0 to {_LARGEST}, found {shown}")
        found.append(int(value))
    return found
