"""What stands on each shard of a plan, gathered once for all the objects that are written of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from planner.domain.fleet import Backend, DeviceClass, Node, Runtime, ShardType
from planner.domain.memory import Need, need
from planner.domain.model import Model
from planner.domain.placement import Placed, Shard, parents
from planner.domain.plan import Plan
from planner.domain.scenario import Names, Scenario, names


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A replica on a shard.

    Parameters
    ----------
    placed, model, backend
        Which replica, of what model, served by what.
    need
        What it needs at the policy's quantile.
    is_parent
        Whether its shard is the model's parent (``placement.parents``).
    """

    placed: Placed
    model: Model
    backend: Backend
    need: Need
    is_parent: bool

    @property
    def instances(self) -> int:
        """Instances of the model on each of its devices."""
        return self.model.footprints[self.placed.option].instances


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardContents:
    """A shard with everything that its objects say.

    Parameters
    ----------
    shard, shard_type, runtime, device_class
        The shard, its template, its model server and the class of its devices.
    node
        The node it is on; None for a shard that is bought.
    residents
        Who lives there, sorted by model.
    """

    shard: Shard
    shard_type: ShardType
    runtime: Runtime
    device_class: DeviceClass
    node: Node | None
    residents: tuple[Resident, ...]

    @property
    def on_gpu(self) -> bool:
        """Whether the shard has GPUs or MIG instances."""
        return self.device_class.kind == "gpu"


def shard_contents(plan: Plan, scenario: Scenario) -> tuple[ShardContents, ...]:
    """Return the shards of a plan with what stands on them, sorted by name.

    The plan has to be one that ``domain.verify`` finds no broken reference in.
    """
    parts = names(scenario)
    types = {shard.name: parts.shard_types[shard.shard_type] for shard in plan.placement.shards}
    residents: dict[str, list[Resident]] = defaultdict(list)
    first = parents(plan.placement.placed)
    for placed in sorted(plan.placement.placed):
        residents[placed.shard].append(
            _resident(placed, scenario, parts, types[placed.shard], is_parent=first[placed.model] == placed)
        )
    return tuple(
        ShardContents(
            shard=shard,
            shard_type=types[shard.name],
            runtime=parts.runtimes[types[shard.name].runtime],
            device_class=parts.device_classes[types[shard.name].device_class],
            node=None if shard.node is None else parts.nodes[shard.node],
            residents=tuple(residents[shard.name]),
        )
        for shard in sorted(plan.placement.shards, key=lambda shard: shard.name)
    )


def _resident(
    placed: Placed, scenario: Scenario, parts: Names, shard_type: ShardType, *, is_parent: bool
) -> Resident:
    model = parts.models[placed.model]
    backend = parts.backends[model.backend]
    needs = need(
        model.footprints[placed.option],
        backend=backend,
        runtime=parts.runtimes[shard_type.runtime],
        quantile=scenario.policy.quantile,
    )
    return Resident(placed=placed, model=model, backend=backend, need=needs, is_parent=is_parent)


def shards_of_models(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return for every placed model the shards of its replicas, by number of replica."""
    found: dict[str, list[str]] = defaultdict(list)
    for placed in sorted(plan.placement.placed):
        found[placed.model].append(placed.shard)
    return {model: tuple(shards) for model, shards in found.items()}
