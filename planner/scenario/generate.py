"""Models drawn from named distributions with a seed: equal input gives equal models on every platform.

Nothing here depends on a floating-point library: draws are integers of the standard library's Mersenne
twister (whose ``getrandbits`` is the same everywhere), and the distributions are tables of integers that are
computed with ``decimal``. Every amount has a stream of its own, so that changing one leaves the others as
they are.

``constant``   always ``value``. ``lognormal``  ``median * exp(sigma * z)``; z is the sum of twelve uniform
draws less 6, which is normal within
               a hundredth up to three standard deviations and ends at six.
``pareto``     ``min / (1 - u)^(1 / alpha)`` for u uniform: a heavy tail, cut at ``max``.
``zipf``       ``max / rank^exponent`` for ranks 1 to ``ranks`` (1,000) that are equally frequent.

``min`` and ``max`` cut every distribution. Memory is rounded up to whole MiB, shares to whole milli-units.
What is drawn is the p95; ``p50Ratio`` and ``loadPeakRatio`` derive the rest. On a class of CPUs the GPU's
figures are left out.
"""

from __future__ import annotations

import random
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_CEILING, Context, Decimal
from itertools import accumulate
from typing import Any, Literal

from planner.domain.footprint import Amount, FootprintOption
from planner.domain.model import Model
from planner.scenario.models_from_shape import DistributionShape, GeneratedFootprintShape, GenerateShape
from planner.scenario.shapes import read_bytes, read_milli
from planner.units import PPM

_MIB = 2**20
_LEVELS = 4096
_NORMAL_LEVELS = 3072
_DECIMAL = Context(prec=24)
_LARGEST = Decimal(2**62)

Unit = Literal["bytes", "milli"]
_FIELDS: dict[str, Unit] = {
    "gpu_memory": "bytes",
    "gpu_time": "milli",
    "cpu": "milli",
    "memory": "bytes",
    "disk": "bytes",
}

_NEEDS = {
    "constant": ({"value"}, set()),
    "lognormal": ({"median", "sigma"}, {"min", "max"}),
    "pareto": ({"min", "alpha", "max"}, set()),
    "zipf": ({"max"}, {"exponent", "ranks", "min"}),
}
"""The parameters that a distribution has to have, and those that it may have."""


class DistributionError(ValueError):
    """A distribution that cannot be drawn from; ``field`` is the parameter at fault."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


# --------------------------------------------------------------------------------------------- distributions


def amounts(shape: DistributionShape, unit: Unit) -> tuple[int, ...]:
    """Return the equally likely amounts of a distribution (for ``lognormal``: its levels, see ``_pick``).

    Raises
    ------
    DistributionError
        A parameter is missing, does not belong to the distribution or is no quantity.
    """
    _check_parameters(shape)
    read = read_bytes if unit == "bytes" else read_milli
    given = {name: _quantity(shape, name, read) for name in ("value", "median", "min", "max")}
    low, high = given["min"] or 0, given["max"]
    if high is not None and low > high:
        raise DistributionError("min", f"min ({shape.min}) is above max ({shape.max})")
    step = _MIB if unit == "bytes" else 1
    return tuple(_rounded(value, low, high, step) for value in _exact(shape, given))


def _check_parameters(shape: DistributionShape) -> None:
    required, optional = _NEEDS[shape.distribution]
    given = shape.model_fields_set - {"distribution"}
    for name in sorted(required - given):
        raise DistributionError(name, f"is required by the distribution {shape.distribution}")
    for name in sorted(given - required - optional):
        known = ", ".join(sorted(required | optional))
        raise DistributionError(name, f"is no parameter of {shape.distribution}; its parameters: {known}")


def _quantity(shape: DistributionShape, name: str, read: Callable[[Any], int]) -> int | None:
    value = getattr(shape, name)
    if value is None:
        return None
    try:
        return read(value)
    except ValueError as error:
        raise DistributionError(name, str(error)) from None


def _exact(shape: DistributionShape, given: Mapping[str, int | None]) -> Iterator[Decimal]:
    match shape.distribution:
        case "constant":
            yield Decimal(given["value"] or 0)
        case "lognormal":
            sigma, median = Decimal(str(shape.sigma)), Decimal(given["median"] or 0)
            for level in range(_NORMAL_LEVELS):
                # the middle of 256 sums of twelve 16-bit draws
                deviations = _DECIMAL.divide(Decimal(level * 256 + 128), Decimal(65536)) - 6
                yield median * _DECIMAL.exp(sigma * deviations)
        case "pareto":
            low, alpha = Decimal(given["min"] or 0), Decimal(str(shape.alpha))
            for level in range(_LEVELS):
                rest = _DECIMAL.divide(Decimal(2 * (_LEVELS - level) - 1), Decimal(2 * _LEVELS))
                yield low * _DECIMAL.exp(_DECIMAL.divide(-_DECIMAL.ln(rest), alpha))
        case "zipf":
            high, exponent = Decimal(given["max"] or 0), Decimal(str(shape.exponent or 1))
            for rank in range(1, (shape.ranks or 1000) + 1):
                yield high * _DECIMAL.exp(-exponent * _DECIMAL.ln(Decimal(rank)))


def _rounded(value: Decimal, low: int, high: int | None, step: int) -> int:
    # what is whole up to a thousandth is whole: the digits behind are the decimals' own rounding
    settled = min(value, _LARGEST).quantize(Decimal("0.001"))
    amount = -(-int(settled.to_integral_value(rounding=ROUND_CEILING)) // step) * step
    return max(low, amount if high is None else min(high, amount))


def _below(stream: random.Random, count: int) -> int:
    """Return a number from 0 to ``count - 1``; ``randrange`` may change between Python versions."""
    return (stream.getrandbits(48) * count) >> 48


def _pick(stream: random.Random, table: tuple[int, ...], *, normal: bool) -> int:
    if not normal:
        return table[_below(stream, len(table))]
    draws: tuple[int, ...] = struct.unpack("<12H", stream.getrandbits(192).to_bytes(24, "little"))
    return table[sum(draws) >> 8]


# --------------------------------------------------------------------------------------------------- models


class Generator:
    """Draws the models of one ``generate`` entry.

    Parameters
    ----------
    shape
        What to draw.
    kinds
        Kind (``gpu`` or ``cpu``) of every device class.

    Raises
    ------
    DistributionError
        As ``amounts``; ``field`` leads to the parameter, as ``gpuMemory.median``.
    """

    def __init__(self, shape: GenerateShape, *, kinds: Mapping[str, str]) -> None:
        self.shape = shape
        self.kinds = kinds
        self._tables = {name: self._table(name, unit) for name, unit in _FIELDS.items()}
        self._options: dict[tuple[int, ...], tuple[FootprintOption, ...]] = {}

    def _table(self, name: str, unit: Unit) -> tuple[int, ...] | None:
        distribution: DistributionShape | None = getattr(self.shape, name)
        if distribution is None:
            return None
        try:
            return amounts(distribution, unit)
        except DistributionError as error:
            alias = type(self.shape).model_fields[name].alias
            raise DistributionError(f"{alias}.{error.field}", str(error)) from None

    def models(self) -> Iterator[Model]:
        """Yield the models in the order of their names."""
        shape = self.shape
        width = len(str(shape.count - 1))
        backend, replicas = self._chooser("backends"), self._chooser("replicas")
        priority, tenant = self._chooser("priorities"), self._chooser("tenants")
        labels = tuple(sorted(shape.labels.items()))
        drawn = [self._drawer(name) for name in _FIELDS]
        for number in range(shape.count):
            name = f"{shape.prefix}-{number:0{width}d}"
            yield Model(
                name=name,
                backend=backend() or "",
                storage_uri=shape.storage_uri.replace("{name}", name),
                replicas=int(replicas() or 1),
                priority=int(priority() or 0),
                tenant=tenant(),
                labels=labels,
                footprints=self._footprints(tuple(draw() for draw in drawn)),
            )

    def _stream(self, name: str) -> random.Random:
        return random.Random(f"{self.shape.seed}/{name}")  # noqa: S311 - not for secrets

    def _chooser(self, name: str) -> Callable[[], str | None]:
        weights: dict[str, int] = getattr(self.shape, name)
        if not weights:
            return lambda: None
        choices = tuple(sorted(weights))
        ends = tuple(accumulate(weights[choice] for choice in choices))
        stream = self._stream(name)
        return lambda: choices[bisect_right(ends, _below(stream, ends[-1]))]

    def _drawer(self, name: str) -> Callable[[], int]:
        table = self._tables[name]
        if table is None:
            return lambda: 0
        stream = self._stream(name)
        normal = getattr(self.shape, name).distribution == "lognormal"
        return lambda: _pick(stream, table, normal=normal)

    def _footprints(self, drawn: tuple[int, ...]) -> tuple[FootprintOption, ...]:
        """Return the options of a model; models that drew the same share them."""
        if drawn not in self._options:
            gpu_memory, gpu_time, cpu, memory, disk = drawn
            self._options[drawn] = tuple(
                FootprintOption(
                    device_class=item.device_class,
                    batch=item.batch,
                    instances=item.instances,
                    steady_bytes=self._amount(gpu_memory if self._has_gpu(item) else 0, 1),
                    load_peak_bytes=self._amount(
                        gpu_memory if self._has_gpu(item) else 0, self.shape.load_peak_ratio
                    ),
                    device_milli=self._amount(gpu_time if self._has_gpu(item) else 0, item.gpu_time_ratio),
                    cpu_milli=self._amount(cpu, item.cpu_ratio),
                    memory_bytes=self._amount(memory, item.memory_ratio),
                    disk_bytes=self._amount(disk, 1),
                    source="estimated",
                )
                for item in self.shape.footprints
            )
        return self._options[drawn]

    def _has_gpu(self, item: GeneratedFootprintShape) -> bool:
        return self.kinds.get(item.device_class) != "cpu"

    def _amount(self, drawn: int, ratio: float) -> Amount:
        p95 = _times(drawn, ratio)
        return Amount(p50=min(p95, _times(drawn, self.shape.p50_ratio * ratio)), p95=p95)


def _times(value: int, ratio: float) -> int:
    """Return the product rounded up, with the ratio taken to a millionth."""
    return -(-value * round(ratio * PPM) // PPM)
