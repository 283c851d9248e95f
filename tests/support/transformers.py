"""Scenarios whose models pass through transformers."""

from __future__ import annotations

import dataclasses
from typing import Any

from planner.domain.fleet import Transformer
from planner.domain.scenario import Scenario
from tests.support.builders import GIB, a_model, a_scenario, a_shard_type


def a_transformer(name: str = "scale", **more: Any) -> Transformer:
    """A transformer of one pod of 2 cores and 1 GiB for 0.1 USD/h."""
    plain: dict[str, Any] = {"cpu_milli": 2000, "memory_bytes": GIB, "price_microusd_per_h": 100_000}
    return Transformer(name=name, image="registry.example/scale:1", **{**plain, **more})


def with_transformers(scenario: Scenario, *transformers: Transformer) -> Scenario:
    """The scenario with transformers that its models may name."""
    return dataclasses.replace(scenario, transformers=transformers)


def two_models(**more: Any) -> Scenario:
    """Two models through one transformer and one through none, on types to buy."""
    through = (a_model(name, transformer="scale") for name in ("a", "b"))
    return with_transformers(a_scenario(*through, a_model("c"), **more), a_transformer())


def on_nodes(*nodes: Any, transformer: Transformer | None = None, **more: Any) -> Scenario:
    """One model through a transformer, and shards of 4 cores and 8 GiB that stand on nodes."""
    kind = a_shard_type(provision="existing", cpu_milli=4000, memory_bytes=8 * GIB)
    scenario = a_scenario(a_model("a", transformer="scale"), types=(kind,), nodes=nodes, **more)
    return with_transformers(scenario, transformer or a_transformer())
