"""Names and labels of the objects, and whether Kubernetes takes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from planner.domain.plan import Plan
from planner.domain.scenario import Scenario, names
from planner.errors import Fault
from planner.manifests.contents import ShardContents

MANAGED_BY = "shardpack"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_SCENARIO = "shardpack.dev/scenario"
LABEL_GROUP = "shardpack.dev/group"
LABEL_SHARD_TYPE = "shardpack.dev/shard-type"
LABEL_SHARD = "shardpack.dev/shard"
ANNOTATION_REPLICA_SHARDS = "shardpack.dev/replica-shards"

# An InferenceService's name is DNS-1035, and `<name>-predictor` names a Service of at most 63 characters.
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST_SERVICE_NAME = 63 - len("-predictor")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

Labels = dict[str, str]


class Titled(Protocol):
    """What objects are named after: a plan, or the scenario that it is of."""

    @property
    def name(self) -> str:
        """Return the scenario's name."""

    @property
    def namespace(self) -> str:
        """Return the namespace of all objects."""


def plan_labels(plan: Titled) -> Labels:
    """Return the labels of every object of a plan."""
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_SCENARIO: plan.name}


def shard_labels(plan: Titled, contents: ShardContents) -> Labels:
    """Return the labels of the objects of a shard."""
    return {
        **plan_labels(plan),
        LABEL_GROUP: contents.shard_type.group,
        LABEL_SHARD_TYPE: contents.shard_type.name,
        LABEL_SHARD: contents.shard.name,
    }


def model_config_name(shard: str) -> str:
    """Return the name of the ConfigMap with a shard's ``models.json``; KServe decides it."""
    return f"modelconfig-{shard}-0"


def placement_name(shard: str, chunk: int) -> str:
    """Return the name of the ConfigMap with one placement document; no two (shard, chunk) share one."""
    return f"shardpack-{shard}-{chunk}"


def name_faults(plan: Plan, scenario: Scenario) -> Iterator[Fault]:
    """Yield every name of a plan that Kubernetes would refuse, before anything is written."""
    types = names(scenario).shard_types
    if not _NAMESPACE.fullmatch(plan.namespace):
        yield Fault(path="namespace", message=f"{plan.namespace!r} is not the name of a namespace")
    if not _LABEL_VALUE.fullmatch(plan.name):
        yield Fault(path="name", message=f"scenario {plan.name!r} cannot be the value of a label")
    for shard in plan.placement.shards:
        if len(shard.name) > _LONGEST_SERVICE_NAME or not _SERVICE_NAME.fullmatch(shard.name):
            limit = f"at most {_LONGEST_SERVICE_NAME} of a-z, 0-9 and -, the first a letter"
            yield Fault(path=f"shards.{shard.name}", message=f"cannot name an InferenceService: {limit}")
    for name in sorted({shard.shard_type for shard in plan.placement.shards}):
        if not _LABEL_VALUE.fullmatch(types[name].name):
            yield Fault(path=f"shardTypes.{name}", message="the name cannot be the value of a label")
