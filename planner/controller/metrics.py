"""What the controller counts for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from planner.controller.engine import Engine
from planner.controller.proposal_metrics import ProposalMetrics

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""A place is found in a tenth of a millisecond; a shard is opened in some ten."""


class Metrics:
    """The controller's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "shardpack_controller"
        self.assign_seconds = Histogram(
            f"{prefix}_assign_seconds",
            "Time of one decision about a model.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.decisions = Counter(
            f"{prefix}_decisions_total",
            "Decisions: placed, refused, removed, moved, opened and closed (a shard).",
            ["outcome"],
            registry=self.registry,
        )
        self.writes = Counter(
            f"{prefix}_writes_total",
            "Writes to the cluster and what came of them: done, conflict, gone or failed.",
            ["kind", "verb", "outcome"],
            registry=self.registry,
        )
        self.events_dropped = Counter(
            f"{prefix}_events_dropped_total",
            "Events that were not written because too many waited.",
            registry=self.registry,
        )
        self.leading = self._gauge("leading", "1 while this process is the one that writes.")
        self.models = self._gauge("models", "Models that have a place.")
        self.refused = self._gauge("models_refused", "Models without a place for all that they ask for.")
        self.shards = self._gauge("shards", "Open shards.")
        self.outdated = self._gauge("servers_outdated", "Servers that would be opened otherwise today.")
        self.postponed = self._gauge("documents_waiting", "Shards whose documents are to be written.")
        self.proposals = ProposalMetrics(self.registry)
        self._known: dict[str, int] = {}

    def look(self, engine: Engine) -> None:
        """Take what an engine says of itself."""
        self.models.set(sum(len(list(plan.models())) for plan in engine.plans))
        self.refused.set(engine.refused)
        self.shards.set(sum(len(plan.shards) for plan in engine.plans))
        self.outdated.set(engine.outdated)
        self.postponed.set(len(engine.scene.postponed))
        self.proposals.look(engine.scene.world.config_maps)
        for outcome, count in engine.decided.items():
            self.decisions.labels(outcome).inc(count - self._known.get(outcome, 0))
            self._known[outcome] = count

    def rest(self) -> None:
        """Take note that this process leads no more: what it knew is another's to say now."""
        for gauge in (self.leading, self.models, self.refused, self.shards, self.outdated, self.postponed):
            gauge.set(0)
        self.proposals.forget()

    def renew(self) -> None:
        """Take note that the next engine counts from 0."""
        self._known = {}

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"shardpack_controller_{name}", text, registry=self.registry)
