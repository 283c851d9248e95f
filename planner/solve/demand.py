"""What models need of shard types, as arrays: ``domain.memory.need`` for all footprints at once.

Models of the same backend, demands and whole devices are one *kind*, so that what depends on the footprint
alone is computed once. Every amount is an exact integer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.domain.fleet import ShardType
from planner.domain.footprint import ANY_CLASS
from planner.domain.scenario import Names, Scenario

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

AMPLE = 2**60
"""Stands for "not limited": four amounts of this size still fit into an int64; no fleet has an exbibyte."""

CPU, MEMORY, DISK, MODELS, CONFIG = range(5)
"""Columns of the resources of a shard; further named resources follow."""
FIXED_COLUMNS = 5

NONE = -1
"""No place in a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way of running each kind on each shard type; arrays are ``(kinds, types)``.

    Parameters
    ----------
    allowed
        Whether the kind has such a way on the type at all.
    option
        Index into the model's footprints.
    on_device
        Whether device memory and time are counted there; never on a CPU.
    steady, surplus
        Device bytes after warm-up, and what loading takes on top of them.
    milli
        Device time.
    host
        ``(kinds, types, columns)``: what the shard gives; the column ``CONFIG`` is 0, it depends on the name.
    """

    allowed: Bools
    option: Ints
    on_device: Bools
    steady: Ints
    surplus: Ints
    milli: Ints
    host: Ints


def ints_of(values: Iterable[int], most: int = AMPLE) -> Ints:
    """Return numbers of any size, the largest cut off."""
    found = list(values)
    try:
        array = np.array(found, dtype=np.int64)
    except OverflowError:
        array = np.array([min(value, most) for value in found], dtype=np.int64)
    return np.minimum(array, most)


def numbers_of(names: Iterable[str], known: Sequence[str]) -> Ints:
    """Return the place of each name among those that are known, ``NONE`` where it is not."""
    number = {name: index for index, name in enumerate(known)}
    return np.array([number.get(name, NONE) for name in names], dtype=np.int64)


# ----------------------------------------------------------------------------------------------------- kinds

_AMOUNTS = ("steady_bytes", "load_peak_bytes", "device_milli", "cpu_milli", "memory_bytes", "disk_bytes")
_ON_DEVICE = _AMOUNTS[:3]
_CLASS, _SOURCE, _INSTANCES, _EXTRA, _FIRST_AMOUNT = range(5)
"""Of what is read of a footprint; amounts at the quantile of the policy, then some at the highest."""

_Option = tuple[Any, ...]
_Kind = tuple[Any, ...]
"""Backend, whole devices, and what is read of each footprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The footprints of all kinds, one below the other.

    Parameters
    ----------
    kind, index
        The kind of each, and its place among the footprints of that.
    backend, device_class
        The kind's backend, and the class that it names; ``NONE`` where the scenario has no device of it.
    is_general
        Whether it stands for any class that has no option of its own.
    uses_device
        Whether it uses its device at all.
    instances
        How many pay a context each.
    amounts
        ``(options, 6 + further resources)``.
    """

    kind: Ints
    index: Ints
    backend: Ints
    device_class: Ints
    is_general: Bools
    uses_device: Bools
    instances: Ints
    amounts: Ints


def kinds_of(scenario: Scenario) -> tuple[tuple[_Kind, ...], Ints]:
    """Return what tells kinds apart, and the kind of each model.

    Read at once by ``attrgetter``: a large fleet has millions of footprints.
    """
    quantile = scenario.policy.quantile
    read = attrgetter(
        "device_class",
        "source",
        "instances",
        "extra",
        *(f"{name}.{quantile}" for name in _AMOUNTS),
        *(f"{name}.p95" for name in _ON_DEVICE),
    )
    number: dict[_Kind, int] = {}
    kind = [
        number.setdefault(
            (model.backend, model.devices_per_replica, *map(read, model.footprints)), len(number)
        )
        for model in scenario.models
    ]
    return tuple(number), np.array(kind, dtype=np.int64)


def extra_names(kinds: tuple[_Kind, ...]) -> tuple[str, ...]:
    """Return the further resources that any kind needs, sorted."""
    found = {option[_EXTRA] for _, _, *options in kinds for option in options}
    return tuple(sorted({name for extra in found for name, _ in extra}))


def _options(scenario: Scenario, kinds: tuple[_Kind, ...], extras: tuple[str, ...]) -> _Options:
    rows: list[_Option] = [option for _, _, *options in kinds for option in options]
    count = np.array([len(kind) - 2 for kind in kinds], dtype=np.int64)
    kind = np.repeat(np.arange(len(kinds)), count)
    backend = numbers_of((kind[0] for kind in kinds), [item.name for item in scenario.backends])[kind]
    classes = [item.name for item in scenario.device_classes]
    amounts = [_amounts(map(itemgetter(_FIRST_AMOUNT + i), rows)) for i in range(len(_AMOUNTS + _ON_DEVICE))]
    further = [_amounts(dict(row[_EXTRA]).get(name, 0) for row in rows) for name in extras]
    in_processes = np.array([item.context_per_instance for item in scenario.backends], dtype=np.bool_)
    reckoned = np.array([row[_SOURCE] in ("declared", "estimated") for row in rows], dtype=np.bool_)
    instances = _amounts(map(itemgetter(_INSTANCES), rows))
    return _Options(
        kind=kind,
        index=np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count),
        backend=backend,
        device_class=numbers_of(map(itemgetter(_CLASS), rows), classes),
        is_general=np.array([row[_CLASS] == ANY_CLASS for row in rows], dtype=np.bool_),
        uses_device=np.any([column > 0 for column in amounts[len(_AMOUNTS) :]], axis=0),
        instances=np.where(in_processes[backend] & reckoned, instances, 0),
        amounts=np.stack((*amounts[: len(_AMOUNTS)], *further), axis=1),
    )


def _amounts(values: Iterable[int]) -> Ints:
    """Return amounts; what is above all that is counted stays so."""
    return ints_of(values, AMPLE + 1)


# ------------------------------------------------------------------------------------------------------ ways


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ways:
    """What runs on a shard type: some of the options, how each ranks among those of its kind, its need.

    The smallest has rank 0; ``need`` is device memory, room for loading, device time, then the host's part.
    """

    option: Ints
    rank: Ints
    need: Ints


def modes_of(
    scenario: Scenario, parts: Names, kinds: tuple[_Kind, ...], extras: tuple[str, ...]
) -> tuple[Mode, ...]:
    """Return the ways of running each kind on each type, the smallest first."""
    options = _options(scenario, kinds, extras)
    ways = [_ways(scenario, parts, options, shard_type) for shard_type in scenario.shard_types]
    most = max((int(found.rank.max(initial=0)) for found in ways), default=0)
    is_gpu = [parts.device_classes[item.device_class].kind == "gpu" for item in scenario.shard_types]
    return tuple(_mode(options, ways, is_gpu, (len(kinds), rank)) for rank in range(most + 1))


def _ways(scenario: Scenario, parts: Names, options: _Options, shard_type: ShardType) -> _Ways:
    """Return the options that stand for a type, as ``domain.model.options_for`` and its runtime say."""
    device_class = parts.device_classes[shard_type.device_class]
    runtime = parts.runtimes[shard_type.runtime]
    own = options.device_class == scenario.device_classes.index(device_class)
    has_own = np.zeros(int(options.kind.max(initial=0)) + 1, dtype=np.bool_)
    has_own[options.kind[own]] = True
    general = options.is_general & ~has_own[options.kind]
    if device_class.kind == "cpu":
        general &= ~options.uses_device
    served = [runtime.backends is None or item.name in runtime.backends for item in scenario.backends]
    option = np.flatnonzero((own | general) & np.array(served, dtype=np.bool_)[options.backend])
    need = _needs(options, option, runtime.context_bytes)
    kept, rank = _smallest_first(options.kind[option], np.column_stack((need, options.uses_device[option])))
    return _Ways(option=option[kept], rank=rank, need=need[kept])


def _needs(options: _Options, option: Ints, context_bytes: int) -> Ints:
    """Return what some options need, as ``domain.memory.need`` says."""
    need = options.amounts[option]
    steady, peak = need[:, 0].copy(), need[:, 1]
    instances = np.minimum(options.instances[option], AMPLE // max(1, context_bytes) + 1)
    contexts = instances * min(context_bytes, AMPLE + 1)
    need[:, 0] += np.where(options.uses_device[option], contexts, 0)
    need[:, 1] = np.maximum(peak - steady, 0)
    return np.minimum(need, AMPLE + 1)


def _smallest_first(kind: Ints, need: Ints) -> tuple[Ints, Ints]:
    """Return the ways that no other way of their kind beats in everything, and how they rank within it.

    Ways of a kind follow each other; of equal ones the first stays.
    """
    beaten = np.zeros(len(kind), dtype=np.bool_)
    most = int(np.bincount(kind).max(initial=1))
    for apart in range(1, most):
        same = np.flatnonzero(kind[apart:] == kind[:-apart])
        one, other = need[same], need[same + apart]
        no_more = (one <= other).all(axis=1)
        beaten[same + apart] |= no_more
        beaten[same] |= (other <= one).all(axis=1) & ~no_more
    kept = np.flatnonzero(~beaten)
    if most > 1:
        kept = kept[np.lexsort((*need[kept].T[::-1], kind[kept]))]
    first = np.flatnonzero(np.diff(kind[kept], prepend=-1))
    return kept, np.arange(len(kept)) - np.repeat(first, np.diff(first, append=len(kept)))


def _mode(options: _Options, ways: list[_Ways], is_gpu: list[bool], size: tuple[int, int]) -> Mode:
    """Return the ways of a rank; ``size`` is how many kinds there are, and the rank."""
    (kinds, rank), types = size, len(ways)
    extras = options.amounts.shape[1] - len(_AMOUNTS)
    mode = Mode(
        allowed=np.zeros((kinds, types), dtype=np.bool_),
        option=np.zeros((kinds, types), dtype=np.int64),
        on_device=np.zeros((kinds, types), dtype=np.bool_),
        steady=np.zeros((kinds, types), dtype=np.int64),
        surplus=np.zeros((kinds, types), dtype=np.int64),
        milli=np.zeros((kinds, types), dtype=np.int64),
        host=np.zeros((kinds, types, FIXED_COLUMNS + extras), dtype=np.int64),
    )
    for column, found in enumerate(ways):
        ranked = found.rank == rank
        option, need = found.option[ranked], found.need[ranked]
        at = options.kind[option], column
        mode.allowed[at], mode.option[at] = True, options.index[option]
        mode.host[*at, : DISK + 1], mode.host[*at, MODELS] = need[:, 3:6], 1
        mode.host[*at, FIXED_COLUMNS:] = need[:, 6:]
        if is_gpu[column]:
            counted = options.uses_device[option]
            mode.on_device[at] = counted
            mode.steady[at], mode.surplus[at], mode.milli[at] = np.where(counted, need[:, :3].T, 0)
    return mode
