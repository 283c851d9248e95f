"""The names of the rules, what ``verify`` checks and a refusal names, and what it is to break one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """One rule each; the value is what files and messages say."""

    # on a device
    DEVICE_MEMORY = "device-memory"
    STARTABLE = "startable"
    DEVICE_TIME = "device-time"
    EXCLUSIVE_DEVICES = "exclusive-devices"
    # on a shard
    CPU = "cpu"
    HOST_MEMORY = "host-memory"
    DISK = "disk"
    EXTRA = "extra"
    MAX_MODELS = "max-models"
    CONFIG_MAP = "config-map"
    TENANTS = "tenants"
    RUNTIME = "runtime"
    DEVICE_CLASS = "device-class"
    # between replicas and models
    SPREAD = "spread"
    TOGETHER = "together"
    PIN = "pin"
    SERVICE = "service"
    # on shard types, nodes and the whole
    MIN_COUNT = "min-count"
    MAX_COUNT = "max-count"
    NODE_SELECTOR = "node-selector"
    NODE_CPU = "node-cpu"
    NODE_MEMORY = "node-memory"
    NODE_PODS = "node-pods"
    NODE_DEVICES = "node-devices"
    IPS = "ips"
    MAX_SHARDS = "max-shards"
    MAX_COST = "max-cost"
    # on the plan itself
    ACCOUNTED = "accounted"
    REFERENCE = "reference"
    COST = "cost"
    BOUND = "bound"


UNITS: dict[Rule, str] = {
    Rule.DEVICE_MEMORY: "bytes",
    Rule.STARTABLE: "bytes",
    Rule.DEVICE_TIME: "milli",
    Rule.EXCLUSIVE_DEVICES: "devices",
    Rule.CPU: "milli",
    Rule.HOST_MEMORY: "bytes",
    Rule.DISK: "bytes",
    Rule.EXTRA: "milli",
    Rule.MAX_MODELS: "models",
    Rule.CONFIG_MAP: "bytes",
    Rule.TENANTS: "tenants",
    Rule.SPREAD: "domains",
    Rule.SERVICE: "pods",
    Rule.MIN_COUNT: "shards",
    Rule.MAX_COUNT: "shards",
    Rule.NODE_CPU: "milli",
    Rule.NODE_MEMORY: "bytes",
    Rule.NODE_PODS: "pods",
    Rule.NODE_DEVICES: "devices",
    Rule.IPS: "addresses",
    Rule.MAX_SHARDS: "shards",
    Rule.MAX_COST: "microusd",
    Rule.COST: "microusd",
    Rule.BOUND: "microusd",
    Rule.ACCOUNTED: "replicas",
}
"""The unit of the numbers that a violation or a refusal of the rule carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that is broken.

    Parameters
    ----------
    rule
        Which.
    subject
        What breaks it: a shard, a device as ``shard/0``, a model, a node.
    need, have
        The numbers that do not fit, in ``UNITS``; None where the rule has none.
    detail
        What else a reader needs, as the other model or the resource's name.
    """

    rule: Rule
    subject: str
    need: int | None = None
    have: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        numbers = f" need {self.need}, have {self.have}" if self.need is not None else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.rule.value}: {self.subject}:{numbers}{detail}"
