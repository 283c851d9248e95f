"""What the models of a scenario ask for: ``validate``'s wide table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner.domain.footprint import Amount, FootprintOption
from planner.domain.model import Model, options_for
from planner.domain.scenario import Scenario
from planner.report.text import table
from planner.report.words import amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the models of a backend ask for on a class of device, all their replicas together.

    Parameters
    ----------
    backend
        Which; None is all backends together.
    device_class
        Which; a model that may go on several classes is counted under each.
    steady_bytes, device_milli, cpu_milli, memory_bytes, disk_bytes
        The footprints as the scenario states them, at the policy's quantile, without what servers and
        backends take themselves. Of several options of a model the least of each amount, so that no plan
        needs less there.
    """

    backend: str | None
    device_class: str
    models: int
    replicas: int
    steady_bytes: int
    device_milli: int
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int


def scenario_demands(scenario: Scenario) -> tuple[Demand, ...]:
    """Return a demand for every backend on every class that its models may go on, then one for each class."""
    found: dict[tuple[str, str], list[tuple[Model, tuple[int, ...]]]] = defaultdict(list)
    for device_class in scenario.device_classes:
        for model in scenario.models:
            options = options_for(model, device_class)
            if options:
                found[model.backend, device_class.name].append((model, options))
    each = [_demand(scenario, *key, found[key]) for key in sorted(found)]
    classes = sorted({demand.device_class for demand in each})
    return (*each, *(_sum_of([item for item in each if item.device_class == name]) for name in classes))


def _demand(
    scenario: Scenario, backend: str, device_class: str, models: Iterable[tuple[Model, tuple[int, ...]]]
) -> Demand:
    count = replicas = 0
    sums = [0] * 5
    for model, indices in models:
        count, replicas = count + 1, replicas + model.replicas
        devices = model.devices_per_replica
        options = [_amounts(model.footprints[index], devices=devices) for index in indices]
        for position, values in enumerate(zip(*options, strict=True)):
            least = min(value.at(scenario.policy.quantile) * times for value, times in values)
            sums[position] += least * model.replicas
    return _of_sums(backend, device_class, models=count, replicas=replicas, sums=sums)


def _amounts(option: FootprintOption, *, devices: int) -> tuple[tuple[Amount, int], ...]:
    """Return each amount of a replica with how often it is paid: device figures are of each device."""
    return (
        (option.steady_bytes, devices),
        (option.device_milli, devices),
        (option.cpu_milli, 1),
        (option.memory_bytes, 1),
        (option.disk_bytes, 1),
    )


def _of_sums(
    backend: str | None, device_class: str, *, models: int, replicas: int, sums: Sequence[int]
) -> Demand:
    steady, milli, cpu, memory, disk = sums
    return Demand(
        backend=backend,
        device_class=device_class,
        models=models,
        replicas=replicas,
        steady_bytes=steady,
        device_milli=milli,
        cpu_milli=cpu,
        memory_bytes=memory,
        disk_bytes=disk,
    )


def _sum_of(demands: Sequence[Demand]) -> Demand:
    """Return the demands of one class together."""
    return _of_sums(
        None,
        demands[0].device_class,
        models=sum(item.models for item in demands),
        replicas=sum(item.replicas for item in demands),
        sums=[sum(values) for values in zip(*map(_sums, demands), strict=True)],
    )


def _sums(demand: Demand) -> tuple[int, int, int, int, int]:
    return (
        demand.steady_bytes,
        demand.device_milli,
        demand.cpu_milli,
        demand.memory_bytes,
        demand.disk_bytes,
    )


def demands_table(demands: Iterable[Demand]) -> str:
    """Return a line a demand; ``(all)`` is every backend together."""
    headers = ("backend", "class", "models", "replicas", "GPU memory", "GPU time", "CPU", "memory", "disk")
    units = ("bytes", "milli", "milli", "bytes", "bytes")
    rows = [
        (
            item.backend or "(all)",
            item.device_class,
            f"{item.models:,}",
            f"{item.replicas:,}",
            *(amount(value, unit) for value, unit in zip(_sums(item), units, strict=True)),
        )
        for item in demands
    ]
    return table(headers, rows, right=range(2, len(headers)))
