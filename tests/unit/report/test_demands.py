"""What the models of a scenario ask for."""

from __future__ import annotations

import dataclasses

from planner.report.demands import demands_table, scenario_demands
from tests.support.builders import CPU, GIB, a_model, a_scenario, a_shard_type, an_option


def test_replicas_and_devices_are_multiplied_and_quantiles_obeyed() -> None:
    wide = dataclasses.replace(
        a_model("wide", an_option(gpu=4 * GIB, host=GIB), replicas=3), devices_per_replica=2
    )
    (each, total) = scenario_demands(a_scenario(wide))
    assert (each.models, each.replicas) == (1, 3)
    assert each.steady_bytes == 3 * 2 * 4 * GIB
    assert each.memory_bytes == 3 * GIB
    assert dataclasses.replace(total, backend=each.backend) == each


def test_of_several_options_the_least_counts() -> None:
    model = a_model("m", an_option(gpu=4 * GIB, cpu=100), an_option(gpu=2 * GIB, cpu=300))
    (each, _) = scenario_demands(a_scenario(model))
    assert (each.steady_bytes, each.cpu_milli) == (2 * GIB, 100)


def test_a_model_that_may_go_on_two_classes_is_counted_under_both() -> None:
    scenario = a_scenario(
        a_model("both", an_option(gpu=GIB), an_option(CPU, cpu=500)),
        a_model("tree", an_option(CPU, cpu=250), backend="sklearn"),
        types=(a_shard_type(), a_shard_type("c", device_class=CPU)),
    )
    found = {(item.backend, item.device_class): item for item in scenario_demands(scenario)}
    assert found["sklearn", CPU].cpu_milli == 250
    assert found[None, CPU].cpu_milli == 750
    assert found[None, CPU].models == 2
    assert found[None, CPU].steady_bytes == 0
    gpu = next(key for key in found if key[0] is None and key[1] != CPU)
    assert (found[gpu].models, found[gpu].steady_bytes) == (1, GIB)
    assert "(all)" in demands_table(found.values())


def test_a_scenario_without_models_asks_for_nothing() -> None:
    assert scenario_demands(a_scenario()) == ()
