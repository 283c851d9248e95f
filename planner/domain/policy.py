"""What the owner of the fleet wants: margins, spread, isolation and the order of the objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.domain.footprint import Quantile

Spread = Literal["shard", "node", "zone", "none"]
Objective = Literal["placed", "cost", "moves", "balance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """Shares of a capacity that stay free, in parts per million.

    ``device_memory_ppm`` is of what the driver leaves (total - reserved) of each device; ``device_time_ppm``
    of each device's time; ``cpu_ppm`` and ``memory_ppm`` of what the sidecars leave of a shard.
    """

    device_memory_ppm: int = 0
    device_time_ppm: int = 0
    cpu_ppm: int = 0
    memory_ppm: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a plan is judged.

    Parameters
    ----------
    headroom
        What stays free.
    quantile
        The quantile of every footprint that is planned with.
    spread
        The failure domain that two replicas of a model never share. A server holds a name once, so two
        replicas never share a shard whatever is said; ``none`` and ``shard`` ask for nothing more.
    isolate_tenants
        Whether no shard holds models of two tenants.
    objective
        What is better, most important first; it starts with ``placed``.
    max_usd_per_h_microusd
        Budget of the whole plan; None is unlimited.
    max_shards
        Shards of the whole plan; None is unlimited.
    """

    headroom: Headroom = Headroom()
    quantile: Quantile = "p95"
    spread: Spread = "shard"
    isolate_tenants: bool = False
    objective: tuple[Objective, ...] = ("placed", "cost", "moves", "balance")
    max_usd_per_h_microusd: int | None = None
    max_shards: int | None = None
