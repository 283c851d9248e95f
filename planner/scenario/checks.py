"""What no single field can say: names that stand twice, references to nothing, figures that contradict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from planner.scenario.check_fleet import check_nodes, check_shard_types
from planner.scenario.check_models import check_models
from planner.scenario.draft import Draft, Located
from planner.scenario.faults import FaultLog


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def check(draft: Draft, log: FaultLog) -> None:
    """Note everything that is wrong with a scenario as a whole."""
    _doubled(draft.shard_types, "shard type", log)
    _doubled(draft.nodes, "node", log)
    _doubled(draft.transformers, "transformer", log)
    _doubled(draft.models, "model", log)
    check_shard_types(draft, log)
    check_nodes(draft, log)
    check_models(draft, log)
    _objective(draft, log)
    _zones(draft, log)


def _doubled(items: Iterable[Located[N]], what: str, log: FaultLog) -> None:
    first: dict[str, Located[N]] = {}
    for item in items:
        other = first.setdefault(item.value.name, item)
        if other is not item:
            fault = other.document.fault(other.loc, "")
            place = ":".join(str(part) for part in (fault.file, fault.line) if part is not None)
            log.add(
                item.document,
                (*item.loc, "name"),
                f"there are two {what}s called {item.value.name!r}; the other is at {place}",
            )


def _objective(draft: Draft, log: FaultLog) -> None:
    objective = draft.policy.objective
    loc = ("spec", "policy", "objective")
    if not objective or objective[0] != "placed":
        log.add(
            draft.policy_document, loc, "has to start with 'placed': nothing is cheaper than placing nothing"
        )
    for index, goal in enumerate(objective):
        if goal in objective[:index]:
            log.add(draft.policy_document, (*loc, index), f"{goal!r} stands twice")


def _zones(draft: Draft, log: FaultLog) -> None:
    """Shards of unknown zone share one failure domain; with no zone at all no model has two replicas."""
    if draft.policy.spread != "zone" or not draft.sound:
        return
    zones = {item.value.zone for item in draft.shard_types} | {item.value.zone for item in draft.nodes}
    if zones <= {None} and any(item.value.replicas > 1 for item in draft.models):
        message = "no shard type and no node has a zone, so no model could have two replicas"
        log.add(draft.policy_document, ("spec", "policy", "spread"), message)
