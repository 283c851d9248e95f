"""What a model asks for on every shard type, as the compiled loops see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.domain.fleet import DeviceClass
from planner.domain.footprint import FootprintOption
from planner.domain.memory import Need, models_json_entry_bytes, need
from planner.domain.model import Model, options_for
from planner.domain.scenario import Names, Scenario
from planner.online.arrays import (
    ALLOWED,
    ASK_COLUMNS,
    MILLI,
    NO_TENANT,
    ON_DEVICE,
    STEADY,
    SURPLUS,
    Ask,
    Ints,
    Load,
)
from planner.solve.problem import AMPLE, CONFIG, CPU, DISK, FIXED_COLUMNS, MEMORY, MODELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of running a model: what it asks for, and by which footprint option on each shard type."""

    ask: Ask
    options: tuple[int, ...]


class Asker:
    """Turns models into what they ask for.

    Parameters
    ----------
    scenario, parts
        Whose shard types, runtimes and backends are meant; its models do not matter.
    columns
        Names of the host's resources, the fixed ones first.
    """

    def __init__(self, scenario: Scenario, parts: Names, columns: Sequence[str]) -> None:
        self._parts, self._policy = parts, scenario.policy
        self._types = scenario.shard_types
        self._classes: list[DeviceClass] = [parts.device_classes[item.device_class] for item in self._types]
        self._extra = {name: index for index, name in enumerate(columns) if index >= FIXED_COLUMNS}
        self._columns = len(columns)
        self._backends = {item.name: index for index, item in enumerate(scenario.backends)}
        self._tenants: dict[str | None, int] = {}

    def knows(self, model: Model) -> bool:
        """Return whether the scenario describes the model's backend."""
        return model.backend in self._backends

    def ways(self, model: Model) -> list[Way]:
        """Return the ways of running a model, on every type the one with the least device bytes first."""
        by_type = [self._needs(model, index) for index in range(len(self._types))]
        most = max((len(found) for found in by_type), default=0)
        return [self._way(model, by_type, rank) for rank in range(most)]

    def load(self, model: Model, kind: int, option: int) -> tuple[Load, int]:
        """Return what a replica takes on a shard of a type, and its surplus while it loads."""
        wants = self._need(model.footprints[option], model, kind)
        backend = self._parts.backends[model.backend]
        on_device = wants.on_device and self._classes[kind].kind == "gpu"
        load = Load(
            host=self._host(model, wants),
            on_device=on_device,
            steady=_most(wants.steady_bytes) if on_device else 0,
            milli=_most(wants.device_milli) if on_device else 0,
            whole=model.devices_per_replica > 1,
            backend=self._backends[model.backend],
            device_base=backend.device_base_bytes,
            host_base=backend.host_base_bytes,
        )
        return load, wants.load_peak_bytes - wants.steady_bytes

    def tenant(self, model: Model) -> int:
        """Return whose a model is; equal numbers are equal tenants, and all are where none are isolated."""
        if not self._policy.isolate_tenants:
            return NO_TENANT + 1
        return self._tenants.setdefault(model.tenant, NO_TENANT + 1 + len(self._tenants))

    def _need(self, option: FootprintOption, model: Model, kind: int) -> Need:
        return need(
            option,
            backend=self._parts.backends[model.backend],
            runtime=self._parts.runtimes[self._types[kind].runtime],
            quantile=self._policy.quantile,
        )

    def _needs(self, model: Model, kind: int) -> list[tuple[int, Need]]:
        """Return the options that a model has on a type and what they need, least device bytes first."""
        served = self._parts.runtimes[self._types[kind].runtime].backends
        if served is not None and model.backend not in served:
            return []
        found = [
            (index, self._need(model.footprints[index], model, kind))
            for index in options_for(model, self._classes[kind])
        ]
        known = [way for way in found if self._is_known(way[1].extra)]
        return sorted(known, key=lambda way: (way[1].steady_bytes, way[1].load_peak_bytes, way[0]))

    def _is_known(self, extra: Mapping[str, int]) -> bool:
        """Return whether some shard type has every named resource that is asked for."""
        return all(name in self._extra for name, amount in extra.items() if amount > 0)

    def _way(self, model: Model, by_type: list[list[tuple[int, Need]]], rank: int) -> Way:
        backend = self._parts.backends[model.backend]
        types = np.zeros((len(self._types), ASK_COLUMNS), dtype=np.int64)
        host = np.zeros((len(self._types), self._columns), dtype=np.int64)
        options = [0] * len(self._types)
        for kind, found in enumerate(by_type):
            if rank >= len(found):
                continue
            options[kind], wants = found[rank]
            types[kind, ALLOWED] = 1
            host[kind] = self._host(model, wants)
            if wants.on_device and self._classes[kind].kind == "gpu":
                types[kind, ON_DEVICE] = 1
                types[kind, STEADY], types[kind, MILLI] = _most(wants.steady_bytes), _most(wants.device_milli)
                types[kind, SURPLUS] = _most(wants.load_peak_bytes - wants.steady_bytes)
        ask = Ask(
            types=types,
            host=host,
            seats=model.devices_per_replica,
            backend=self._backends[model.backend],
            device_base=backend.device_base_bytes,
            host_base=backend.host_base_bytes,
            tenant=self.tenant(model),
        )
        return Way(ask=ask, options=tuple(options))

    def _host(self, model: Model, wants: Need) -> Ints:
        host = np.zeros(self._columns, dtype=np.int64)
        host[CPU], host[MEMORY] = _most(wants.cpu_milli), _most(wants.memory_bytes)
        host[DISK], host[MODELS] = _most(wants.disk_bytes), 1
        host[CONFIG] = models_json_entry_bytes(model)
        for name, amount in wants.extra.items():
            if name in self._extra:
                host[self._extra[name]] = _most(amount)
        return host


def _most(amount: int) -> int:
    """Return an amount that still adds up in an int64; one above ``AMPLE`` fits nowhere all the same."""
    return min(amount, AMPLE + 1)
