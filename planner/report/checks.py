"""What ``verify`` looked at, rule by rule: how many subjects each rule had, and how many break it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from planner.domain.plan import Plan
from planner.domain.references import find_broken_references
from planner.domain.rules import Rule, Violation
from planner.domain.scenario import Names, Scenario, names
from planner.domain.services import used_services
from planner.report.text import table
from planner.report.words import RULE_NAMES, plural

_ALWAYS = {Rule.REFERENCE: "name", Rule.ACCOUNTED: "model", Rule.COST: "figure", Rule.BOUND: "figure"}
"""The rules that are checked even if names in the plan mean nothing, and what they are about."""

_NOUNS: dict[Rule, str] = {
    **dict.fromkeys((Rule.DEVICE_MEMORY, Rule.STARTABLE, Rule.DEVICE_TIME), "GPU"),
    Rule.EXCLUSIVE_DEVICES: "device",
    **dict.fromkeys(
        (Rule.CPU, Rule.HOST_MEMORY, Rule.DISK, Rule.MAX_MODELS, Rule.CONFIG_MAP, Rule.TENANTS), "shard"
    ),
    Rule.EXTRA: "resource",
    Rule.RUNTIME: "replica",
    Rule.DEVICE_CLASS: "replica",
    Rule.SPREAD: "model",
    Rule.TOGETHER: "group",
    Rule.PIN: "pin",
    Rule.SERVICE: "service",
    Rule.MIN_COUNT: "shard type",
    Rule.MAX_COUNT: "shard type",
    Rule.NODE_SELECTOR: "shard",
    **dict.fromkeys((Rule.NODE_CPU, Rule.NODE_MEMORY, Rule.NODE_PODS), "node"),
    Rule.NODE_DEVICES: "device",
    Rule.IPS: "limit",
    Rule.MAX_SHARDS: "limit",
    Rule.MAX_COST: "limit",
    **_ALWAYS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule: the things it was checked on, and the violations found.

    ``subjects`` is None where the rule could not be checked, because names in the plan mean nothing; 0 where
    neither scenario nor plan has anything that it is about, as a limit that nobody set.
    """

    rule: Rule
    subjects: int | None
    violations: int


def rule_checks(scenario: Scenario, plan: Plan, violations: Iterable[Violation]) -> tuple[Check, ...]:
    """Return every rule with what it was checked on, in the order of ``Rule``.

    Parameters
    ----------
    violations
        What ``domain.verify`` and the check of the file's figures found.
    """
    broken = Counter(violation.rule for violation in violations)
    parts = names(scenario)
    counts: dict[Rule, int] = {
        # The plan's own name, namespace and hash, then a name for every row.
        Rule.REFERENCE: 3
        + sum(map(len, (plan.placement.shards, plan.placement.placed, plan.services, plan.refusals))),
        Rule.ACCOUNTED: len(scenario.models),
        Rule.COST: 1,
        Rule.BOUND: 1,
    }
    if next(find_broken_references(parts, plan.placement), None) is None:
        counts |= {
            **_on_shards(scenario, parts, plan),
            **_of_replicas(parts, plan),
            **_on_nodes(plan),
            **_of_limits(scenario),
            Rule.SERVICE: len({*used_services(scenario, plan.placement), *_standing(plan)}),
        }
    return tuple(Check(rule=rule, subjects=counts.get(rule), violations=broken.get(rule, 0)) for rule in Rule)


def _standing(plan: Plan) -> Iterator[tuple[str, str]]:
    return ((item.group, item.transformer) for item in plan.services)


def _on_shards(scenario: Scenario, parts: Names, plan: Plan) -> Mapping[Rule, int]:
    types = [parts.shard_types[shard.shard_type] for shard in plan.placement.shards]
    gpus = [item for item in types if parts.device_classes[item.device_class].kind == "gpu"]
    gpu_count = sum(item.device_count for item in gpus)
    return {
        Rule.DEVICE_MEMORY: gpu_count,
        Rule.STARTABLE: gpu_count,
        Rule.DEVICE_TIME: gpu_count,
        Rule.EXCLUSIVE_DEVICES: sum(item.device_count for item in types),
        Rule.CPU: len(types),
        Rule.HOST_MEMORY: len(types),
        Rule.DISK: sum(item.disk_bytes is not None for item in types),
        Rule.MAX_MODELS: sum(item.max_models is not None for item in types),
        Rule.CONFIG_MAP: len(types),
        Rule.TENANTS: len(types) if scenario.policy.isolate_tenants else 0,
    }


def _of_replicas(parts: Names, plan: Plan) -> Mapping[Rule, int]:
    placed = plan.placement.placed
    models = {item.model: parts.models[item.model] for item in placed}
    groups = {(models[item.model].together, item.replica) for item in placed}
    wanted = {
        (item.shard, name) for item in placed for name, _ in models[item.model].footprints[item.option].extra
    }
    return {
        Rule.EXTRA: len(wanted),
        Rule.RUNTIME: len(placed),
        Rule.DEVICE_CLASS: len(placed),
        Rule.SPREAD: len(models),
        Rule.TOGETHER: sum(key is not None for key, _ in groups),
        Rule.PIN: sum(item.replica == 0 and models[item.model].pin is not None for item in placed),
    }


def _on_nodes(plan: Plan) -> Mapping[Rule, int]:
    here = [shard for shard in plan.placement.shards if shard.node is not None]
    nodes = len({shard.node for shard in here} | {name for item in plan.services for name in item.nodes})
    return {
        Rule.NODE_SELECTOR: len(here),
        Rule.NODE_CPU: nodes,
        Rule.NODE_MEMORY: nodes,
        Rule.NODE_PODS: nodes,
        Rule.NODE_DEVICES: len({(shard.node, index) for shard in here for index in shard.node_devices}),
    }


def _of_limits(scenario: Scenario) -> Mapping[Rule, int]:
    policy, cluster = scenario.policy, scenario.cluster
    return {
        Rule.MIN_COUNT: sum(item.min_count > 0 for item in scenario.shard_types),
        Rule.MAX_COUNT: sum(item.max_count is not None for item in scenario.shard_types),
        Rule.IPS: int(cluster.max_ips is not None),
        Rule.MAX_SHARDS: int(policy.max_shards is not None),
        Rule.MAX_COST: int(policy.max_usd_per_h_microusd is not None),
    }


def checks_table(checks: Iterable[Check]) -> str:
    """Return a line a rule."""
    rows = [
        (
            item.rule.value,
            RULE_NAMES[item.rule],
            "not checked" if item.subjects is None else plural(item.subjects, _NOUNS[item.rule]),
            f"{item.violations:,}",
        )
        for item in checks
    ]
    return table(("rule", "about", "checked on", "violations"), rows, right=(3,))
