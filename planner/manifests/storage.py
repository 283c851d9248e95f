"""Whether those who receive a plan's models can take the addresses of their files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from agent.desired import URI_SCHEMES
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario

Taker = Literal["agent", "kserve"]

KSERVE_SCHEMES = ("s3", "gs", "https", "http")
"""What the validating webhook of KServe's TrainedModel takes (read in its source, 2026-08)."""

SCHEMES: dict[Taker, tuple[str, ...]] = {"agent": URI_SCHEMES, "kserve": KSERVE_SCHEMES}
"""The schemes that each taker of a storageUri knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Untaken:
    """Models whose files one of those who receive them cannot be told of.

    Parameters
    ----------
    taker
        The agent, which fetches the files, or KServe, which admits the TrainedModel.
    models
        The models' names, sorted; at least one.
    schemes
        The schemes of their URIs, sorted.
    """

    taker: Taker
    models: tuple[str, ...]
    schemes: tuple[str, ...]


def untaken_uris(plan: Plan, scenario: Scenario) -> tuple[Untaken, ...]:
    """Return the placed models with a storageUri that is not taken, one entry a taker; empty is well."""
    placed = {item.model for item in plan.placement.placed}
    schemes = {
        model.name: model.storage_uri.partition("://")[0] for model in scenario.models if model.name in placed
    }
    found = (_untaken(taker, schemes.items(), known) for taker, known in SCHEMES.items())
    return tuple(item for item in found if item.models)


def _untaken(taker: Taker, schemes: Iterable[tuple[str, str]], known: tuple[str, ...]) -> Untaken:
    unknown = [(name, scheme) for name, scheme in schemes if scheme not in known]
    return Untaken(
        taker=taker,
        models=tuple(sorted(name for name, _ in unknown)),
        schemes=tuple(sorted({scheme for _, scheme in unknown})),
    )
