"""Data in words: amounts with their units, and sentences for refusals and violations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from planner.domain.plan import Plan, Refusal, gap_ratio
from planner.domain.rules import UNITS, Rule, Violation
from planner.units import NANOSECONDS, format_bytes, format_usd, quantity_milli

RULE_NAMES: dict[Rule, str] = {
    Rule.DEVICE_MEMORY: "GPU memory",
    Rule.STARTABLE: "GPU memory while starting",
    Rule.DEVICE_TIME: "GPU time",
    Rule.EXCLUSIVE_DEVICES: "whole devices",
    Rule.CPU: "CPU",
    Rule.HOST_MEMORY: "host memory",
    Rule.DISK: "disk",
    Rule.EXTRA: "named resource",
    Rule.MAX_MODELS: "models a shard",
    Rule.CONFIG_MAP: "ConfigMap size",
    Rule.TENANTS: "tenant isolation",
    Rule.RUNTIME: "runtime",
    Rule.DEVICE_CLASS: "device class",
    Rule.SPREAD: "spread of replicas",
    Rule.TOGETHER: "models together",
    Rule.PIN: "pin",
    Rule.SERVICE: "transformers",
    Rule.MIN_COUNT: "fewest shards of a type",
    Rule.MAX_COUNT: "most shards of a type",
    Rule.NODE_SELECTOR: "node selector",
    Rule.NODE_CPU: "CPU of the node",
    Rule.NODE_MEMORY: "memory of the node",
    Rule.NODE_PODS: "pods of the node",
    Rule.NODE_DEVICES: "free devices",
    Rule.IPS: "pod addresses",
    Rule.MAX_SHARDS: "shards of the plan",
    Rule.MAX_COST: "cost limit",
    Rule.ACCOUNTED: "every replica placed or refused",
    Rule.REFERENCE: "names that mean something",
    Rule.COST: "cost",
    Rule.BOUND: "bound",
}
"""What a rule is about, for people."""

_SINGULAR = {"addresses": "address"}


def amount(value: int, unit: str) -> str:
    """Return a number with its unit: ``15.2Gi``, ``250m``, ``1.25``, ``0.526 USD/h``, ``3 models``."""
    if unit == "bytes":
        return format_bytes(value)
    if unit == "milli":
        return quantity_milli(value) if value < 1000 else f"{value / 1000:,.3f}".rstrip("0").rstrip(".")
    if unit == "microusd":
        return f"{format_usd(value)} USD/h"
    word = _SINGULAR.get(unit, unit.removesuffix("s")) if value == 1 else unit
    return f"{value:,} {word}"


def _both_amounts(need: int, have: int, unit: str) -> tuple[str, str]:
    """Return two amounts that read differently where the numbers do: exact ones if rounding hides it."""
    texts = amount(need, unit), amount(have, unit)
    if texts[0] == texts[1] and need != have:
        return f"{need:,} {unit}", f"{have:,} {unit}"
    return texts


def plural(count: int, noun: str) -> str:
    """Return ``1 shard`` or ``12,000 shards``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(ppm: int) -> str:
    """Return parts per million as a percentage with one decimal (``97.3 %``), rounded down.

    So ``100.0 %`` is said only of what is full.
    """
    return f"{ppm // 1_000 / 10:.1f} %"


def gap_text(plan: Plan) -> str:
    """Return a plan's gap to its bound as ``1.25 %``; ``no bound`` without one."""
    gap = gap_ratio(plan)
    return "no bound" if gap is None else f"{100 * gap:.2f} %"


def seconds_text(value_ns: int) -> str:
    """Return a time as it is estimated: ``0.4 s``, ``12 s``, ``3 min``."""
    seconds = value_ns / NANOSECONDS
    if seconds < 10:
        return f"{max(seconds, 0.1):.1f} s" if value_ns else "0 s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def usd_text(microusd_per_h: int) -> str:
    """Return a price as ``0.526 USD/h``."""
    return f"{format_usd(microusd_per_h)} USD/h"


# ---------------------------------------------------------------------------------------------- refusals

_REFUSED: dict[Rule, str] = {
    Rule.DEVICE_MEMORY: "needs {need} of GPU memory, and {subject} has room for {have}",
    Rule.STARTABLE: "needs {need} of GPU memory while it loads, and {subject} has {have}",
    Rule.DEVICE_TIME: "needs {need} of a GPU's time, and {subject} has {have}",
    Rule.EXCLUSIVE_DEVICES: "needs {need} of its own, and {subject} has {have}",
    Rule.CPU: "needs {need} CPU, and {subject} has {have}",
    Rule.HOST_MEMORY: "needs {need} of host memory, and {subject} has {have}",
    Rule.DISK: "needs {need} of disk, and {subject} has {have}",
    Rule.EXTRA: "needs {need} of the named resource {subject}, and {have} is there",
    Rule.MAX_MODELS: "{subject} may hold {have}, and {need} would be there",
    Rule.CONFIG_MAP: "the models.json of {subject} would take {need}, and a ConfigMap holds {have}",
    Rule.TENANTS: "tenants are isolated, and {subject} belongs to another tenant",
    Rule.RUNTIME: "no runtime here serves its backend ({subject})",
    Rule.DEVICE_CLASS: "it has no footprint for any device class of this fleet ({subject})",
    Rule.SPREAD: "its replicas must not share a {subject}: {need} wanted, {have} possible",
    Rule.TOGETHER: "it must share a shard with the other models of {subject}, which do not fit together",
    Rule.PIN: "it is pinned to {subject}, where it cannot be",
    Rule.MIN_COUNT: "{subject} must open at least {need}, and {have} could be opened",
    Rule.MAX_COUNT: "{subject} may open {have}, and {need} would be needed",
    Rule.NODE_SELECTOR: "no node has the labels that {subject} selects",
    Rule.NODE_CPU: "{subject} has {have} CPU left, and {need} is needed",
    Rule.NODE_MEMORY: "{subject} has {have} of memory left, and {need} is needed",
    Rule.NODE_PODS: "{subject} has room for {have}, and {need} would be needed",
    Rule.NODE_DEVICES: "{subject} has {have} free, and {need} would be needed",
    Rule.IPS: "the cluster has {have}, and {need} would be needed",
    Rule.MAX_SHARDS: "the plan may open {have}, and {need} would be needed",
    Rule.MAX_COST: "the plan may cost {have}, and {need} would be needed",
    Rule.ACCOUNTED: "a shard could be opened for it; the {subject} ended the search before it was tried",
}


def refusal_sentence(refusal: Refusal) -> str:
    """Return why replicas of a model were refused, in one sentence with numbers and units."""
    head = f"{refusal.model}: {plural(refusal.replicas, 'replica')} refused"
    return f"{head}: {refusal_reason(refusal)} [{refusal.rule.value}]"


def refusal_reason(refusal: Refusal) -> str:
    """Return the reason alone, as ``needs 20Gi of GPU memory, and nvidia-t4 has room for 14.3Gi``."""
    template = _REFUSED.get(refusal.rule)
    if template is None or (refusal.need is None and "{need}" in template):
        reason = f"{RULE_NAMES[refusal.rule]}: {refusal.subject}"
    else:
        need, have = _both_amounts(refusal.need or 0, refusal.have or 0, UNITS.get(refusal.rule, ""))
        reason = template.format(subject=refusal.subject, need=need, have=have)
    if refusal.rule is Rule.ACCOUNTED:
        return reason
    proof = "no plan could place more" if refusal.proven else "the search found no room"
    return f"{reason}; {proof}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalGroup:
    """Models that are refused for one and the same reason."""

    rule: Rule
    models: tuple[str, ...]
    replicas: int
    reason: str

    def names(self, *, most: int = 3) -> str:
        """Return the models, the first ``most`` by name."""
        rest = len(self.models) - most
        return ", ".join(self.models[:most]) + (f" and {rest:,} more" if rest > 0 else "")

    def sentence(self) -> str:
        """Return who is refused and why."""
        return (
            f"{self.names()}: {plural(self.replicas, 'replica')} refused: {self.reason} [{self.rule.value}]"
        )


def refusal_groups(refusals: Iterable[Refusal]) -> list[RefusalGroup]:
    """Return refusals put together by their reason, the one that keeps out most replicas first."""
    found: dict[tuple[Rule, str], list[Refusal]] = defaultdict(list)
    for refusal in refusals:
        found[refusal.rule, refusal_reason(refusal)].append(refusal)
    groups = [
        RefusalGroup(
            rule=rule,
            models=tuple(refusal.model for refusal in members),
            replicas=sum(refusal.replicas for refusal in members),
            reason=reason,
        )
        for (rule, reason), members in found.items()
    ]
    return sorted(groups, key=lambda group: (-group.replicas, group.rule, group.reason))


# -------------------------------------------------------------------------------------------- violations


_BROKEN: dict[Rule, str] = {
    Rule.DEVICE_CLASS: "{subject} has no footprint for {detail}",
    Rule.RUNTIME: "{subject}: {detail}",
    Rule.PIN: "{subject} {detail}",
    Rule.REFERENCE: "{subject}: {detail}",
    Rule.ACCOUNTED: "{subject}: every replica has to be placed or refused, {need} in all ({detail})",
    Rule.EXCLUSIVE_DEVICES: "{subject}: whole devices are not shared ({detail})",
    Rule.TOGETHER: "{subject} is torn apart: {detail}",
    Rule.NODE_SELECTOR: "{subject}: {detail}",
    Rule.SERVICE: "{subject}: {detail}",
    Rule.SPREAD: "the replicas of {subject} share a failure domain: need {need}, have {have} ({detail})",
}
"""Sentences of the rules that the general one does not suit."""


def violation_sentence(violation: Violation) -> str:
    """Return a broken rule in one sentence with numbers and units."""
    need, have = violation.need, violation.have
    texts = {"subject": violation.subject, "detail": violation.detail, "need": "", "have": ""}
    if need is not None and have is not None:
        texts["need"], texts["have"] = _both_amounts(need, have, UNITS.get(violation.rule, ""))
    template = _BROKEN.get(violation.rule)
    if template is None and not texts["need"] and violation.rule in (Rule.COST, Rule.BOUND):
        template = _BROKEN[Rule.REFERENCE]
    if template is not None:
        return f"{template.format(**texts)} [{violation.rule.value}]"
    numbers = f", need {texts['need']}, have {texts['have']}" if texts["need"] else ""
    detail = f" ({violation.detail})" if violation.detail else ""
    return f"{RULE_NAMES[violation.rule]} of {violation.subject}{numbers}{detail} [{violation.rule.value}]"
