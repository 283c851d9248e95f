"""Which of Triton's backends run a model where ``instance_group`` says, and what is written for the others.

A backend that is not in the table is taken to obey: that is what Triton's own do (onnxruntime, tensorrt,
pytorch, tensorflow, fil), since they are given a device with every instance and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Way = Literal["instance_group", "gpu_device_ids", "told"]
"""How a backend learns where a model runs: it obeys ``instance_group``; it has a parameter of its own; or its
code is told the device of an instance and may ask for another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """How a backend is told where a model runs.

    Parameters
    ----------
    way
        See above.
    one_device
        Whether it refuses a ``KIND_GPU`` group for a model on several devices: then its author's stays.
    fault
        What a user has to know of it; None where the model is where it is planned.
    source
        Who says so.
    """

    way: Way
    one_device: bool = False
    fault: str | None = None
    source: str = ""


OBEDIENT = Placing(way="instance_group")

PLACINGS: Mapping[str, Placing] = {
    "python": Placing(
        way="told",
        fault="a python model runs on the GPU that its code asks for; it is told its device as "
        "model_instance_device_id, and --python-gpus shown lets it see no other",
        source="https://github.com/triton-inference-server/server/issues/6124 (its maintainers); run",
    ),
    "vllm": Placing(
        way="told",
        one_device=True,
        fault="vLLM was seen to run on the first GPU of its server whatever its instance_group says: give it "
        "a shard with no other GPU than its own",
        source="https://github.com/triton-inference-server/server/issues/7786 (2024-11); that it refuses "
        "KIND_GPU on several devices: vllm_backend, src/model.py; not run",
    ),
    "tensorrtllm": Placing(
        way="gpu_device_ids",
        source="https://github.com/triton-inference-server/tensorrtllm_backend/issues/481 (its maintainers, "
        "2024-05); instances of the kind CPU: its own config.pbtxt; not run",
    ),
}
"""By the name of the backend."""

BACKEND_OF_PLATFORM: Mapping[str, str] = {
    "onnxruntime_onnx": "onnxruntime",
    "tensorrt_plan": "tensorrt",
    "pytorch_libtorch": "pytorch",
    "tensorflow_savedmodel": "tensorflow",
    "tensorflow_graphdef": "tensorflow",
    "ensemble": "ensemble",
}
"""Triton's model configuration, "Name, Platform and Backend"."""


def placing_of(backend: str | None) -> Placing:
    """Return how a backend is told where a model runs."""
    return PLACINGS.get(backend or "", OBEDIENT)
