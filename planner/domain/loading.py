"""How long servers take to load what a plan puts on them: their own part of it.

Downloads and the models' own time come on top of every figure here. Loads through a server's API are counted
one after the other: Triton takes its time for each under one lock, however many are asked for at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import isqrt

from planner.domain.fleet import LoadCost
from planner.domain.placement import Placement
from planner.domain.scenario import Scenario, names

_MOST = 2**31 - 1  # what a scenario can say
MOST_FILL_NS = 300 * 10**9
"""What filling a shard one by one may take where nothing says how many models it may hold.

Half of the ten minutes that Kubernetes gives a roll-out (``progressDeadlineSeconds``), because on a busy
machine the same loads were seen to take twice as long.
"""


def loads_ns(cost: LoadCost, count: int, *, known: int = 0) -> int:
    """Return what some loads through the API take, by a server that knows some models before the first."""
    return count * cost.each_ns + cost.per_known_ns * (count * known + count * (count - 1) // 2)


def start_ns(cost: LoadCost, count: int) -> int:
    """Return what a server's start with all of its models takes; one by one where it cannot start so."""
    return loads_ns(cost, count) if cost.at_start_ns is None else count * cost.at_start_ns


def default_max_models(cost: LoadCost) -> int | None:
    """Return how many models are loaded one by one in ``MOST_FILL_NS``, at least 1.

    None if loads cost nothing.
    """
    if cost.per_known_ns == 0:
        return min(_MOST, max(1, MOST_FILL_NS // cost.each_ns)) if cost.each_ns else None
    # the root of  each * n + per_known * n (n - 1) / 2 = most,  rounded down
    slope = 2 * cost.each_ns - cost.per_known_ns
    root = isqrt(slope * slope + 8 * cost.per_known_ns * MOST_FILL_NS)
    return min(_MOST, max(1, (root - slope) // (2 * cost.per_known_ns)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLoads:
    """What a shard's server has to load, and how long it takes.

    Parameters
    ----------
    shard
        Which.
    count
        Loads.
    opened
        Whether the shard is new: then all its models are loaded at its start.
    start_ns
        At a start of the server with all that it then holds.
    one_by_one_ns
        Through its API.
    """

    shard: str
    count: int
    opened: bool
    start_ns: int
    one_by_one_ns: int

    @property
    def apply_ns(self) -> int:
        """Return how long the change takes: a new shard starts with its models, others load them."""
        return self.start_ns if self.opened else self.one_by_one_ns


def start_loads(scenario: Scenario, placement: Placement) -> tuple[ShardLoads, ...]:
    """Return the loads of every shard from nothing; those of servers whose cost is known."""
    return change_loads(scenario, Placement(shards=(), placed=()), placement)


def change_loads(scenario: Scenario, before: Placement, after: Placement) -> tuple[ShardLoads, ...]:
    """Return the loads that lead from a placement to another, by shard; those of servers whose cost is known.

    ``scenario`` is that of the later one. A replica that comes to a shard, or to other devices of it, is
    loaded there. A shard that keeps its name and changes its type, node or devices is another one.
    """
    parts = names(scenario)
    standing = set(before.shards)
    old, total = set(before.placed), Counter(item.shard for item in after.placed)
    kept = Counter(item.shard for item in after.placed if item in old)
    found = []
    for shard in after.shards:
        cost = parts.runtimes[parts.shard_types[shard.shard_type].runtime].loads
        opened = shard not in standing
        known = 0 if opened else kept[shard.name]
        count = total[shard.name] - known
        if cost is not None and count:
            found.append(
                ShardLoads(
                    shard=shard.name,
                    count=count,
                    opened=opened,
                    start_ns=start_ns(cost, total[shard.name]),
                    one_by_one_ns=loads_ns(cost, count, known=known),
                )
            )
    return tuple(found)
