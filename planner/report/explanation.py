"""What an explanation says, as flat data: bytes, milli-units, micro-USD and parts per million.

Sentences stand only where data would need its reader to know the rules; ``prose`` writes the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.domain.rules import Rule
from planner.online.room import Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A rule that stands against something; its numbers, if it has any, are in ``unit``."""

    rule: Rule
    subject: str
    need: int | None
    have: int | None
    unit: str | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another place for a replica: an open shard, or a shard that would be opened (``opens``)."""

    target: str
    opens: bool
    extra_microusd_per_h: int
    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A resource: used, capacity and left in ``unit``, and the used share in parts per million."""

    rule: Rule
    subject: str
    name: str
    used: int
    capacity: int
    left: int
    full_ppm: int
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a replica is and what it takes there; ``takes`` is sorted by share, the largest first.

    ``shard_models`` counts the models of its shard, itself included.
    """

    replica: int
    shard: str
    shard_type: str
    node: str | None
    devices: tuple[int, ...]
    device_class: str
    batch: int
    instances: int
    source: str
    shard_models: int
    price_microusd_per_h: int
    takes: tuple[Use, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelExplanation:
    """Why a model is where it is, or is nowhere.

    Parameters
    ----------
    moved_with
        The other models of its ``together`` group, which every trial moved along.
    refused
        Refused replicas, and ``reasons`` in words.
    tried_replica
        The replica that was tried elsewhere: the first that is refused, otherwise 0.
    shards, shard_types
        What became of it on the other open shards and on a new shard of each type.
    shards_untried
        Open shards that were left out to stay quick.
    """

    model: str
    backend: str
    replicas: int
    moved_with: tuple[str, ...]
    refused: int
    reasons: tuple[str, ...]
    homes: tuple[Home, ...]
    tried_replica: int
    shards: tuple[Alternative, ...]
    shard_types: tuple[Alternative, ...]
    shards_untried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A replica on a shard: its devices and what it needs."""

    model: str
    replica: int
    devices: tuple[int, ...]
    steady_bytes: int
    device_milli: int
    cpu_milli: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardExplanation:
    """What a shard holds, what is left of each resource and what binds.

    ``largest_that_fits`` is the model of the scenario with the largest GPU footprint (of host memory on a CPU
    shard) that is not on the shard and could be added; None when none could.
    """

    shard: str
    shard_type: str
    runtime: str
    node: str | None
    price_microusd_per_h: int
    residents: tuple[Resident, ...]
    resources: tuple[Use, ...]
    binding: Use | None
    largest_that_fits: str | None
    largest_bytes: int | None
    models_untried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a memory account, in bytes."""

    what: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceExplanation:
    """The memory account of a device, line by line.

    ``lines`` add up to ``used_bytes``; ``used + left + headroom = total``. ``start_lines`` are the load peaks
    on top of the steady state that a start must have room for. ``saved_at_p50_bytes`` is what planning with
    medians instead of the policy's quantile would have saved here.
    """

    device: str
    device_class: str
    uuid: str | None
    is_gpu: bool
    lines: tuple[Line, ...]
    used_bytes: int
    headroom_bytes: int
    left_bytes: int
    total_bytes: int
    start_lines: tuple[Line, ...]
    start_bytes: int
    capacity_bytes: int
    used_milli: int
    capacity_milli: int
    saved_at_p50_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExplanation:
    """What a plan costs, how good that is, what binds and what is missing.

    ``binding_shards`` counts the shards by the resource that is fullest there; ``refusals`` are in words,
    one for each reason; ``room`` is what still fits into the open shards.
    """

    name: str
    status: str
    cost_microusd_per_h: int
    bound_microusd_per_h: int | None
    bound_method: str | None
    shards: int
    overall: tuple[Use, ...]
    binding_shards: tuple[tuple[Rule, int], ...]
    refusals: tuple[str, ...]
    saved_at_p50_bytes: int
    room: Room


Explanation = PlanExplanation | ModelExplanation | ShardExplanation | DeviceExplanation
