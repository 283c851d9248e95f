"""Models that may run on other GPUs than planned are named, by what the agent knows of their backends."""

from __future__ import annotations

import dataclasses

from agent.layouts.backends import PLACINGS
from planner.domain.fleet import Backend
from planner.manifests import Unpinned, unpinned_models
from planner.manifests.pinning import SHOWN
from planner.scenario.catalogue import shipped_catalogue
from tests.support.builders import a_model, a_scenario, a_shard_type
from tests.support.plans import a_plan, a_shard, on


def test_the_catalogue_says_what_the_agent_knows() -> None:
    catalogue = shipped_catalogue().backends
    assert {name for name, item in catalogue.items() if not item.pinnable} == {
        name for name, placing in PLACINGS.items() if placing.fault is not None
    }
    assert PLACINGS.keys() <= catalogue.keys()


def test_those_that_have_other_gpus_beside_them_are_named() -> None:
    free = [Backend(name=name, pinnable=False) for name in ("python", "vllm")]
    models = [a_model(name, backend="python") for name in ("a", "b", "alone")]
    wide = a_model("whole", backend="vllm", devices_per_replica=2)
    scenario = a_scenario(
        *models, wide, a_model("llm", backend="vllm"), a_model("obeys"),
        types=(a_shard_type("one"), a_shard_type("two", device_count=2)), backends=tuple(free),
    )  # fmt: skip
    placed = [on("alone", "one"), on("obeys", "two"), on("whole", "two-1", 0, 1)]
    placed += [on("b", "two", 1), on("a", "two"), on("a", "two", 1, replica=1), on("llm", "two")]
    shards = [a_shard("one"), a_shard("two"), a_shard("two-1", "two")]
    plan = a_plan(scenario, *shards, *placed)
    python, vllm = unpinned_models(plan, scenario)
    assert python == Unpinned(backend="python", models=("a", "b"))
    assert vllm == Unpinned(backend="vllm", models=("llm",))
    assert unpinned_models(plan, scenario, environment=(SHOWN,)) == (vllm,)
    obedient = dataclasses.replace(scenario, backends=())
    assert unpinned_models(plan, obedient) == ()
