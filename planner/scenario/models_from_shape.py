"""Where models come from when they are not written out: the shapes of ``modelsFrom``."""

# ruff: noqa: RUF012 - pydantic copies a field's default for each instance
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from planner.scenario.shapes import ClassOrAny, ModelName, Positive, Scalar, Shape, Strings


class DistributionShape(Shape):
    """A distribution of an amount."""

    distribution: Literal["constant", "lognormal", "pareto", "zipf"]
    """Its name."""
    value: Scalar | None = None
    """constant: the amount."""
    median: Scalar | None = None
    """lognormal: half the models are below it."""
    sigma: Annotated[float, Field(gt=0, le=4)] | None = None
    """lognormal: standard deviation of the logarithm."""
    alpha: Annotated[float, Field(gt=0, le=20)] | None = None
    """pareto: the smaller, the heavier the tail."""
    exponent: Annotated[float, Field(gt=0, le=10)] | None = None
    """zipf: the amount of rank r is max / r^exponent."""
    ranks: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """zipf: ranks 1 to this one are equally frequent."""
    min: Scalar | None = None
    """All draws are at least this; pareto: where it starts."""
    max: Scalar | None = None
    """All draws are at most this; zipf: the amount of rank 1."""


def _constant_for_scalar(value: Any) -> Any:
    """Read one quantity as the distribution that always gives it."""
    return {"distribution": "constant", "value": value} if isinstance(value, str | int | float) else value


GeneratedAmount = Annotated[
    DistributionShape,
    BeforeValidator(_constant_for_scalar, json_schema_input_type=Scalar | DistributionShape),
]


class GeneratedFootprintShape(Shape):
    """How the amounts that are drawn apply to a class of device."""

    device_class: ClassOrAny = Field(alias="class")
    """A device class or '*'."""
    batch: Positive = 1
    """As in footprints."""
    instances: Positive = 1
    """As in footprints."""
    gpu_time_ratio: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Multiplies the GPU time that was drawn."""
    cpu_ratio: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Multiplies the CPU that was drawn."""
    memory_ratio: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Multiplies the host memory that was drawn."""


Weights = dict[str, Annotated[int, Field(ge=1, le=1_000_000)]]


class GenerateShape(Shape):
    """Models drawn from distributions with a seed."""

    prefix: ModelName
    """Names are this, '-' and a number."""
    count: Annotated[int, Field(ge=1, le=5_000_000)]
    """How many models."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """Equal seeds give equal models."""
    backends: Annotated[Weights, Field(min_length=1)]
    """Weight of each backend."""
    storage_uri: str = "s3://models/{name}"
    """{name} stands for the model's name."""
    replicas: Weights = {"1": 1}
    """Weight of each number of replicas."""
    priorities: Weights = {"0": 1}
    """Weight of each priority."""
    tenants: Weights = {}
    """Weight of each tenant; empty is nobody's."""
    labels: Strings = {}
    """Of every model."""
    gpu_memory: GeneratedAmount | None = None
    """Steady GPU memory, p95."""
    load_peak_ratio: Annotated[float, Field(ge=1, le=100)] = 1.0
    """Load peak as a multiple of the steady GPU memory."""
    p50_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Medians as a share of what is drawn, which is the p95."""
    gpu_time: GeneratedAmount | None = None
    """Share of a GPU's time, p95."""
    cpu: GeneratedAmount | None = None
    """Cores, p95."""
    memory: GeneratedAmount | None = None
    """Host memory, p95."""
    disk: GeneratedAmount | None = None
    """Size of the model's files."""
    footprints: Annotated[list[GeneratedFootprintShape], Field(min_length=1)]
    """Classes of device that the models may run on."""


class ModelsFromShape(Shape):
    """One source of models; exactly one of its fields is given."""

    table: str | None = None
    """Path of a CSV file."""
    trained_models: str | None = None
    """Path of a folder of TrainedModels."""
    generate: GenerateShape | None = None
    """A distribution."""
