"""Levers on nodes: one more of every kind that there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from planner.domain.fleet import Node
from planner.domain.plan import Plan
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.solve.relax.lever import Lever

HOST_LABEL = "kubernetes.io/hostname"


def on_machines(scenario: Scenario, plan: Plan | None, missing: int) -> Iterator[Lever]:
    """Yield one more node of every kind that there is, empty but for the pods that every node of it runs.

    ``missing`` is how many replicas are refused, or all where there is no plan.
    """
    prices = [item.price_microusd_per_h for item in scenario.shard_types if item.provision == "existing"]
    if not prices:
        return
    kinds: dict[object, list[Node]] = {}
    for node in scenario.nodes:
        kinds.setdefault(dataclasses.replace(_blank(node), name="", rack=None, pods_in_use=0), []).append(
            node
        )
    for alike in kinds.values():
        yield _more_nodes(alike, _most_nodes(plan, missing), unpriced=not any(prices))


def _blank(node: Node) -> Node:
    """Return a node as it would be bought: other GPUs, nothing of others in them."""
    devices = tuple(
        dataclasses.replace(device, uuid=None, parent=None, foreign_bytes=0) for device in node.devices
    )
    labels = tuple((key, value) for key, value in node.labels if key != HOST_LABEL)
    return dataclasses.replace(node, devices=devices, labels=labels)


def _most_nodes(plan: Plan | None, missing: int) -> int:
    """Return how many nodes could be of use: twice what is refused over what a node holds now, and two."""
    if plan is None:
        return missing
    hosts = {shard.name: shard.node for shard in plan.placement.shards if shard.node is not None}
    held = sum(placed.shard in hosts for placed in plan.placement.placed)
    a_node = max(1, held // max(1, len(set(hosts.values()))))
    return min(missing, 2 + 2 * missing // a_node)


def _more_nodes(alike: list[Node], most: int, *, unpriced: bool) -> Lever:
    pattern = dataclasses.replace(_blank(alike[0]), pods_in_use=min(node.pods_in_use for node in alike))

    def relaxed(scenario: Scenario, step: int) -> Scenario:
        new = (dataclasses.replace(pattern, name=name) for name in _new_names(scenario, pattern.name, step))
        return dataclasses.replace(scenario, nodes=(*scenario.nodes, *new))

    known = {node.name for node in alike}
    return Lever(
        field=f"nodes[{pattern.name}].count",
        unit="nodes",
        steps=most,
        burden=2,
        rules=frozenset(
            {
                Rule.NODE_DEVICES,
                Rule.NODE_CPU,
                Rule.NODE_MEMORY,
                Rule.NODE_PODS,
                Rule.SPREAD,
                Rule.NODE_SELECTOR,
            }
        ),
        relaxed=relaxed,
        value=lambda step: len(known) + step,
        machines=unpriced,
    )


def _new_names(scenario: Scenario, base: str, count: int) -> list[str]:
    taken, number = {node.name for node in scenario.nodes}, 1
    found: list[str] = []
    while len(found) < count:
        name = f"{base}-more-{number}"
        number += 1
        if name not in taken:
            found.append(name)
    return found
