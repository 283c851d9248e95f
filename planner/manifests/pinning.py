"""Whether models run on the GPUs that the plan gives them: some backends have the last word on that."""

from __future__ import annotations

from dataclasses import dataclass

from planner.domain.plan import Plan
from planner.domain.scenario import Scenario, names

SHOWN = ("SHARDPACK_AGENT_PYTHON_GPUS", "shown")
"""The agent's variable by which a python model's processes see no other GPUs than the model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpinned:
    """Models that may run on other GPUs of their shard than planned.

    Parameters
    ----------
    backend
        Their backend.
    models
        Their names, sorted; at least one.
    """

    backend: str
    models: tuple[str, ...]


def unpinned_models(
    plan: Plan, scenario: Scenario, *, environment: tuple[tuple[str, str], ...] = ()
) -> tuple[Unpinned, ...]:
    """Return the placed models that may run elsewhere than planned, one entry a backend; empty is well.

    Parameters
    ----------
    plan, scenario
        What is placed; a model that has all GPUs of its shard cannot go elsewhere.
    environment
        Variables of the agent, see `SHOWN`.
    """
    known = names(scenario)
    free = {item.name for item in scenario.backends if not item.pinnable}
    if SHOWN in environment:
        free.discard("python")
    counts = {shard.name: known.shard_types[shard.shard_type].device_count for shard in plan.placement.shards}
    found: dict[str, set[str]] = {}
    for item in plan.placement.placed:
        backend = known.models[item.model].backend
        if backend in free and len(item.devices) < counts[item.shard]:
            found.setdefault(backend, set()).add(item.model)
    return tuple(Unpinned(backend=backend, models=tuple(sorted(found[backend]))) for backend in sorted(found))
