"""Checks of the services that transformers become: one a group, with a name that Kubernetes takes."""

from __future__ import annotations

from collections.abc import Iterable

from planner.domain.references import in_group
from planner.domain.scenario import Scenario
from planner.domain.services import possible_groups, service_name, wanted_services
from planner.scenario.draft import Draft
from planner.scenario.faults import FaultLog

_LONGEST_NAME = 63  # of a Kubernetes Service


def check_services(scenario: Scenario, draft: Draft, log: FaultLog) -> None:
    """Note models whose requests pass through a transformer in several groups, and names that cannot be.

    Which of several groups a model comes into is known only when it is placed, and what takes room and money
    has to be known before.
    """
    torn = dict[str, tuple[str, frozenset[str]]]()  # by transformer the first such model
    for model, name, groups in possible_groups(scenario):
        if len(groups) > 1:
            torn.setdefault(name, (model.name, groups))
    first = {model: (name, groups) for name, (model, groups) in torn.items()}
    for item in draft.models if first else ():
        if item.value.name in first:
            name, groups = first[item.value.name]
            message = (
                f"{name!r} stands once for a group, and this model may come into"
                f" {' or '.join(sorted(groups))}; give their shard types one group"
            )
            log.add(item.document, (*item.loc, "transformer"), message)
    check_service_names(scenario, wanted_services(scenario), draft, log)


def check_service_names(
    scenario: Scenario, services: Iterable[tuple[str, str]], draft: Draft, log: FaultLog
) -> None:
    """Note services, each a group and a transformer, whose names cannot be."""
    places = {item.value.name: item for item in draft.transformers}
    groups = {item.group for item in scenario.shard_types}
    for group, transformer in services:
        item, service = places[transformer], service_name(group, transformer)
        taken = next((other for other in groups if in_group(service, other)), None)
        if len(service) > _LONGEST_NAME:
            message = f"its service {service!r} has {len(service)} characters, and {_LONGEST_NAME} is most"
            log.add(item.document, (*item.loc, "name"), message)
        elif taken is not None:
            message = f"its service {service!r} has the name of a shard of group {taken!r}"
            log.add(item.document, (*item.loc, "name"), message)
