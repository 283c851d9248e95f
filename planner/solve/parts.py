"""Parts of a scenario that have nothing to do with each other, and are planned one by one.

Two models have to do with each other if a shard might hold both: they are allowed on a type of shard in
common, and nothing keeps their tenants apart. What is limited for all of them, as a type's number or the
nodes, ties those that may use it; a limit on the whole plan ties everything. What is left apart is smaller,
so more of it is proved, and the parts' bounds add up.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from planner.domain.placement import Placed, Placement, Shard
from planner.domain.scenario import Scenario
from planner.solve.problem import Problem
from planner.solve.scarce import is_scarce

MOST_PARTS = 64
"""Of more than so many each is small, and planning each by itself takes long."""


_NODES, _NOWHERE = "nodes", "nowhere"
"""What stands for all nodes, which any shards on them share; and for models that are allowed on no type."""


def parts_of(problem: Problem) -> tuple[Scenario, ...]:
    """Return the scenarios that a problem falls into, in the order of their first models; one if it does not.

    Together they have all its models, and all of its shard types that something is allowed on or that are
    asked for; models that are allowed nowhere are a part.
    """
    scenario = problem.scenario
    if is_scarce(scenario):
        return (scenario,)
    ties = _Ties()
    allowed = np.any([mode.allowed for mode in problem.modes], axis=0)
    keys = [("model", kind, tenant) for kind, tenant in zip(problem.kind, problem.tenant, strict=True)]
    for key in dict.fromkeys(keys):
        _, kind, tenant = key
        places = [_place(problem, int(index), tenant) for index in allowed[kind].nonzero()[0]]
        ties.tie([key, *(places or [_NOWHERE])])
    for model, key in zip(scenario.models, keys, strict=True):
        named = [("together", model.together)] if model.together is not None else []
        named += [("shard", model.pin.shard)] if model.pin is not None else []
        ties.tie([key, *named])
    of_top: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        of_top[ties.top(key)].append(index)
    if len(of_top) < 2:
        return (scenario,)
    types: dict[Hashable, set[int]] = defaultdict(set)
    for key in dict.fromkeys(keys):
        types[ties.top(key)].update(allowed[key[1]].nonzero()[0].tolist())
    asked = {index for index, item in enumerate(scenario.shard_types) if item.min_count}
    host = ties.top(_NODES) if ties.top(_NODES) in of_top else next(iter(of_top))
    types[host] |= asked.difference(*types.values())  # they may stand on the nodes that others use
    return tuple(_part(scenario, models, types[top]) for top, models in of_top.items())


def _place(problem: Problem, index: int, tenant: int) -> Hashable:
    """Return what stands for the shards of a type that models of a tenant may use."""
    item = problem.scenario.shard_types[index]
    if item.provision != "new":
        return _NODES
    if item.min_count or item.max_count is not None:
        return "type", index
    return "type", index, tenant


def _part(scenario: Scenario, models: Sequence[int], types: set[int]) -> Scenario:
    kept = tuple(item for index, item in enumerate(scenario.shard_types) if index in types)
    return dataclasses.replace(
        scenario,
        models=tuple(scenario.models[index] for index in models),
        shard_types=kept,
        nodes=() if all(item.provision == "new" for item in kept) else scenario.nodes,
    )


def united(parts: Sequence[Scenario], placements: Sequence[Placement]) -> Placement:
    """Return the placements of all parts as one, under new names for all shards that no part's own pins name.

    Other parts may have given that name to a shard of theirs, as they do not know of the pin.
    """
    shards: list[Shard] = []
    placed: list[Placed] = []
    for number, (scenario, part) in enumerate(zip(parts, placements, strict=True)):
        pinned = {model.pin.shard for model in scenario.models if model.pin}
        name = {one.name: one.name if one.name in pinned else f"{number}/{one.name}" for one in part.shards}
        shards += (dataclasses.replace(one, name=name[one.name]) for one in part.shards)
        placed += (dataclasses.replace(one, shard=name[one.shard]) for one in part.placed)
    return Placement(shards=tuple(shards), placed=tuple(placed))


class _Ties:
    """What belongs to the same part (disjoint sets, with path halving)."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}

    def top(self, item: Hashable) -> Hashable:
        """Return what stands for all that is tied to an item."""
        above = self._above
        above.setdefault(item, item)
        while above[item] != item:
            above[item] = above[above[item]]
            item = above[item]
        return item

    def tie(self, items: Sequence[Hashable]) -> None:
        """Note that items belong together."""
        for other in items[1:]:
            self._above[self.top(other)] = self.top(items[0])
