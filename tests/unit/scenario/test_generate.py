"""Generated models: the same everywhere, and distributed as their name says."""

from __future__ import annotations

import hashlib
from collections import Counter
from statistics import median
from typing import Any

import pytest

from planner.domain.canonical import canonical_json
from planner.domain.model import Model
from planner.scenario.generate import DistributionError, Generator, amounts
from planner.scenario.models_from_shape import DistributionShape, GenerateShape

KINDS = {"cpu": "cpu", "nvidia-t4": "gpu"}
MIB = 2**20


def generate(**fields: Any) -> tuple[Model, ...]:
    plain = {
        "prefix": "m",
        "count": 2000,
        "seed": 1,
        "backends": {"fil": 1},
        "footprints": [{"class": "cpu"}],
    }
    return tuple(Generator(GenerateShape.model_validate(plain | fields), kinds=KINDS).models())


def table(**fields: Any) -> tuple[int, ...]:
    return amounts(DistributionShape.model_validate(fields), "bytes")


def test_equal_seeds_give_these_very_models() -> None:
    # The digest was taken on CPython 3.11 (x86-64); a platform that differs draws other models.
    models = generate(
        count=500,
        replicas={"1": 3, "2": 1},
        tenants={"a": 1, "b": 2},
        gpuMemory={"distribution": "lognormal", "median": "200Mi", "sigma": 0.8, "max": "4Gi"},
        gpuTime={"distribution": "zipf", "max": "300m", "exponent": 0.7},
        memory={"distribution": "pareto", "min": "50Mi", "alpha": 1.3, "max": "2Gi"},
        cpu="20m",
        p50Ratio=0.8,
        loadPeakRatio=1.25,
        footprints=[{"class": "nvidia-t4"}, {"class": "cpu", "cpuRatio": 8}],
    )
    digest = hashlib.sha256("".join(canonical_json(model) for model in models).encode()).hexdigest()
    assert digest == "e7475800ef1929d0d41501cf49ae1eea61755f8453ea7b7b5865c7008f4cdd8f"


def test_another_seed_gives_other_models() -> None:
    memory = {"distribution": "lognormal", "median": "200Mi", "sigma": 0.8}
    assert generate(memory=memory) != generate(memory=memory, seed=2)


def test_one_amount_does_not_disturb_another() -> None:
    memory = {"distribution": "pareto", "min": "50Mi", "alpha": 1.3, "max": "2Gi"}
    alone = [model.footprints[0].memory_bytes for model in generate(memory=memory)]
    beside = [model.footprints[0].memory_bytes for model in generate(memory=memory, disk="1Gi", cpu="1")]
    assert alone == beside


def test_names_have_equal_lengths_and_stay_in_order() -> None:
    names = [model.name for model in generate(count=1001)]
    assert (names[0], names[-1]) == ("m-0000", "m-1000")
    assert names == sorted(names)


def test_weights_are_kept() -> None:
    models = generate(
        count=10_000, backends={"fil": 3, "python": 1}, tenants={"a": 1, "b": 1}, priorities={"5": 1}
    )
    backends = Counter(model.backend for model in models)
    assert backends["fil"] == pytest.approx(7500, abs=250)
    assert Counter(model.tenant for model in models)["a"] == pytest.approx(5000, abs=300)
    assert {model.priority for model in models} == {5}


def test_lognormal_has_its_median_and_its_tail() -> None:
    models = generate(count=10_000, memory={"distribution": "lognormal", "median": "1Gi", "sigma": 1})
    drawn = sorted(model.footprints[0].memory_bytes.p95 / 2**30 for model in models)
    assert median(drawn) == pytest.approx(1, rel=0.05)
    # exp(1.645) = 5.18 is the 95th percentile of a lognormal with sigma 1
    assert drawn[9500] == pytest.approx(5.18, rel=0.1)


def test_pareto_is_cut_at_its_ends() -> None:
    drawn = table(distribution="pareto", min="64Mi", alpha=1.0, max="1Gi")
    assert (min(drawn), max(drawn)) == (65 * MIB, 1024 * MIB)
    # P(X > 2 min) = 1 / 2 for alpha 1
    assert sum(value > 128 * MIB for value in drawn) / len(drawn) == pytest.approx(0.5, abs=0.01)


def test_zipf_is_max_by_rank() -> None:
    assert table(distribution="zipf", max="1000Mi", exponent=1.0, ranks=4) == tuple(
        mib * MIB for mib in (1000, 500, 334, 250)
    )


def test_figures_of_the_gpu_are_left_out_on_a_cpu() -> None:
    (model, *_) = generate(
        gpuMemory="1Gi",
        gpuTime="30m",
        cpu="10m",
        footprints=[{"class": "cpu", "cpuRatio": 3}, {"class": "nvidia-t4", "gpuTimeRatio": 0.5}],
    )
    on_cpu, on_gpu = model.footprints
    assert (on_cpu.steady_bytes.p95, on_cpu.device_milli.p95, on_cpu.cpu_milli.p95) == (0, 0, 30)
    assert (on_gpu.steady_bytes.p95, on_gpu.device_milli.p95, on_gpu.cpu_milli.p95) == (2**30, 15, 10)


def test_ratios_derive_median_and_load_peak() -> None:
    (model, *_) = generate(
        gpuMemory="100Mi", loadPeakRatio=1.5, p50Ratio=0.5, footprints=[{"class": "nvidia-t4"}]
    )
    option = model.footprints[0]
    assert (option.steady_bytes.p50, option.steady_bytes.p95) == (50 * MIB, 100 * MIB)
    assert (option.load_peak_bytes.p50, option.load_peak_bytes.p95) == (75 * MIB, 150 * MIB)


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"distribution": "lognormal", "median": "1Gi"}, "sigma", "is required"),
        ({"distribution": "constant", "value": "1Gi", "min": "1Mi"}, "min", "is no parameter of constant"),
        ({"distribution": "zipf", "max": "1Qi"}, "max", "unknown suffix"),
        ({"distribution": "zipf", "max": "1Gi", "min": "2Gi"}, "min", "min (2Gi) is above max (1Gi)"),
    ],
)
def test_a_distribution_names_the_parameter_at_fault(
    fields: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(DistributionError) as caught:
        table(**fields)
    assert caught.value.field == field
    assert message in str(caught.value)
