"""Levers on what was promised: the headroom of devices and shards, spread, isolation, pins and groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal

from planner.domain.model import Model
from planner.domain.plan import Refusal
from planner.domain.policy import Headroom
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.solve.relax.lever import Lever, with_policy

HEADROOM_STEP_PPM = 1_000
"""Headroom is given up in tenths of a percent."""


_HEADROOMS: tuple[tuple[str, str, frozenset[Rule]], ...] = (
    ("gpuMemory", "device_memory_ppm", frozenset({Rule.DEVICE_MEMORY, Rule.STARTABLE, Rule.NODE_DEVICES})),
    ("gpuTime", "device_time_ppm", frozenset({Rule.DEVICE_TIME, Rule.NODE_DEVICES})),
    ("cpu", "cpu_ppm", frozenset({Rule.CPU, Rule.NODE_CPU})),
    ("memory", "memory_ppm", frozenset({Rule.HOST_MEMORY, Rule.NODE_MEMORY})),
)


def on_margins(scenario: Scenario) -> Iterator[Lever]:
    """Yield the headroom that is kept."""
    for name, attribute, rules in _HEADROOMS:
        before = getattr(scenario.policy.headroom, attribute)
        if before:
            yield _headroom(name, attribute, rules, before)


def _headroom(name: str, attribute: str, rules: frozenset[Rule], before: int) -> Lever:
    steps = -(-before // HEADROOM_STEP_PPM)

    def value(step: int) -> int:
        return (steps - step) * HEADROOM_STEP_PPM if step else before

    def relaxed(scenario: Scenario, step: int) -> Scenario:
        headroom: Headroom = dataclasses.replace(scenario.policy.headroom, **{attribute: value(step)})
        return with_policy(scenario, headroom=headroom)

    return Lever(
        field=f"policy.headroom.{name}",
        unit="ppm",
        steps=steps,
        burden=3,
        rules=rules,
        relaxed=relaxed,
        value=value,
    )


_LOOSER = {"zone": ("zone", "node", "shard"), "node": ("node", "shard")}
"""Each asks for less than the one before: shards in two zones are on two nodes, and two shards."""


def on_promises(scenario: Scenario) -> Iterator[Lever]:
    """Yield spread and the isolation of tenants, where they bind anyone."""
    policy = scenario.policy
    levels = _LOOSER.get(policy.spread, ())
    if levels and any(model.replicas > 1 for model in scenario.models):
        yield Lever(
            field="policy.spread",
            unit="",
            steps=len(levels) - 1,
            burden=4,
            rules=frozenset({Rule.SPREAD}),
            relaxed=lambda scenario, step: with_policy(scenario, spread=levels[step]),
            value=lambda step: levels[step],
        )
    if policy.isolate_tenants and len({model.tenant for model in scenario.models}) > 1:
        yield Lever(
            field="policy.tenants",
            unit="",
            steps=1,
            burden=4,
            rules=frozenset({Rule.TENANTS, Rule.MAX_COUNT, Rule.MAX_SHARDS}),
            relaxed=lambda scenario, step: with_policy(scenario, isolate_tenants=not step),
            value=lambda step: "shared" if step else "isolated",
        )


def on_models(scenario: Scenario, refused: Iterable[Refusal]) -> Iterator[Lever]:
    """Yield the pins and groups of models that are refused."""
    names = {refusal.model for refusal in refused}
    pinned = sorted(model.name for model in scenario.models if model.name in names and model.pin is not None)
    keys = sorted({model.together for model in scenario.models if model.name in names and model.together})
    for name in pinned:
        yield _on_model("pin", name, Rule.PIN, {name})
    for key in keys:
        members = {model.name for model in scenario.models if model.together == key}
        yield _on_model("together", key, Rule.TOGETHER, members)


def _on_model(attribute: Literal["pin", "together"], subject: str, rule: Rule, members: set[str]) -> Lever:
    field = f"models[{subject}].pin" if attribute == "pin" else f"together[{subject}]"

    def relaxed(scenario: Scenario, step: int) -> Scenario:
        models = (
            _freed(model, attribute) if step and model.name in members else model for model in scenario.models
        )
        return dataclasses.replace(scenario, models=tuple(models))

    return Lever(
        field=field,
        unit="",
        steps=1,
        burden=4,
        rules=frozenset({rule}),
        relaxed=relaxed,
        value=lambda step: "none" if step else "as asked",
    )


def _freed(model: Model, attribute: Literal["pin", "together"]) -> Model:
    if attribute == "pin":
        return dataclasses.replace(model, pin=None)
    return dataclasses.replace(model, together=None)
