"""Checks of the services that transformers become: one a group, with a name that Kubernetes takes."""

from __future__ import annotations

from planner.domain.references import in_group
from planner.domain.scenario import Scenario, names
from planner.domain.services import groups_of, service_name, wanted_services
from planner.scenario.draft import Draft
from planner.scenario.faults import FaultLog

_LONGEST_NAME = 63  # of a Kubernetes Service


def check_services(scenario: Scenario, draft: Draft, log: FaultLog) -> None:
    """Note models whose requests pass through a transformer in several groups, and names that cannot be.

    Which of several groups a model comes into is known only when it is placed, and what takes room and money
    has to be known before.
    """
    if not scenario.transformers:
        return
    parts, told = names(scenario), set[str]()
    for item in draft.models:
        name = item.value.transformer
        if name is None or name in told:
            continue
        groups = sorted(groups_of(item.value, scenario, parts))
        if len(groups) > 1:
            told.add(name)
            message = (
                f"{name!r} stands once for a group, and this model may come into {' or '.join(groups)};"
                " give their shard types one group"
            )
            log.add(item.document, (*item.loc, "transformer"), message)
    _names(scenario, draft, log)


def _names(scenario: Scenario, draft: Draft, log: FaultLog) -> None:
    places = {item.value.name: item for item in draft.transformers}
    groups = {item.group for item in scenario.shard_types}
    for group, transformer in wanted_services(scenario):
        item, service = places[transformer], service_name(group, transformer)
        taken = next((other for other in groups if in_group(service, other)), None)
        if len(service) > _LONGEST_NAME:
            message = f"its service {service!r} has {len(service)} characters, and {_LONGEST_NAME} is most"
            log.add(item.document, (*item.loc, "name"), message)
        elif taken is not None:
            message = f"its service {service!r} has the name of a shard of group {taken!r}"
            log.add(item.document, (*item.loc, "name"), message)
