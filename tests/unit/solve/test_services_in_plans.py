"""Plans with services: counted once, beside shards on nodes, in cost and bound, kept from plan to plan."""

from __future__ import annotations

import dataclasses

import pytest

from planner.domain.difference import diff_plans
from planner.domain.fleet import Cluster
from planner.domain.plan import Plan
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.domain.services import Service
from planner.domain.verify import verify
from planner.errors import InputError, VerificationError
from planner.online.planning import grow_plan
from planner.scenario.plan_file import check_figures, parse_plan, plan_document, plan_text
from planner.sizing.limits import serving_limits
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.relax.search import relax
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option
from tests.support.transformers import a_transformer, on_nodes, two_models, with_transformers

QUICK = SolveOptions(work=10)
TEN = an_option(gpu=10 * GIB)


def with_models(scenario: Scenario, *models: object) -> Scenario:
    ordered = sorted((*scenario.models, *models), key=lambda model: model.name)  # type: ignore[attr-defined]
    return dataclasses.replace(scenario, models=tuple(ordered))  # type: ignore[arg-type]


def test_a_service_is_counted_once_in_cost_bound_pods_and_limits() -> None:
    scenario = two_models(cluster=Cluster(max_ips=9))
    plan = make_plan(scenario, QUICK)
    assert plan.services == (Service(group="t", transformer="scale"),)
    assert plan.bound is not None
    assert (plan.cost_microusd_per_h, plan.bound.microusd_per_h, plan.status) == (
        1_100_000,
        1_100_000,
        "optimal",
    )
    document = plan_document(plan, scenario)
    assert document["limits"]["ips"] == {"used": 2, "limit": 9}
    sharded = serving_limits(scenario, plan).sharded
    assert sharded is not None
    assert (sharded.services, sharded.pods, sharded.transformer_pods) == (1, 2, 1)
    (ceiling,) = serving_limits(scenario, plan).ceilings
    assert ceiling.sharded_models == (9 - 1) * 3


def test_a_plan_with_services_is_written_and_read() -> None:
    scenario = on_nodes(a_node("n"), a_node("host", gpus=0))
    plan = make_plan(scenario, QUICK)
    (row,) = plan_document(plan, scenario)["services"]
    assert row == {
        "name": "t-transformer-scale",
        "transformer": "scale",
        "group": "t",
        "replicas": 1,
        "nodes": ["host"],
        "cpuMilli": 2000,
        "memoryBytes": GIB,
        "usdPerHour": 0.1,
    }
    assert parse_plan(plan_text(plan, scenario), file="plan.json") == plan
    changed = {**plan_document(plan, scenario), "services": [{**row, "cpuMilli": 1}]}
    (broken,) = check_figures(changed, plan, scenario)
    assert broken.subject == "services[0].cpuMilli"


def test_without_services_a_plan_says_nothing_of_them() -> None:
    scenario = a_scenario(a_model())
    assert "services" not in plan_document(make_plan(scenario, QUICK), scenario)


def test_shards_take_what_services_leave_of_nodes() -> None:
    """A shard takes 4 of 4 cores and a service 2: both do not fit onto one node."""
    both = on_nodes(a_node("a", cpu_milli=4000), a_node("b", cpu_milli=4000))
    plan = make_plan(both, QUICK)
    assert {*plan.services[0].nodes, plan.placement.shards[0].node} == {"a", "b"}
    one = make_plan(on_nodes(a_node("a", cpu_milli=4000)), QUICK)
    (refusal,) = one.refusals
    assert (refusal.rule, refusal.proven) == (Rule.NODE_CPU, False)
    assert one.services == ()
    assert one.status == "feasible"


def test_shards_take_the_addresses_and_the_money_that_services_leave() -> None:
    models = [a_model(name, TEN, transformer="scale") for name in ("a", "b")]
    for limit in ({"cluster": Cluster(max_ips=2)}, {"max_usd_per_h_microusd": 2_000_000}):
        plan = make_plan(with_transformers(a_scenario(*models, **limit), a_transformer()), QUICK)
        assert len(plan.placement.shards) == 1
        assert [refusal.proven for refusal in plan.refusals] == [False]


def test_no_room_for_services_is_a_fault() -> None:
    with pytest.raises(InputError, match="fit on the nodes for service 't-transformer-scale'"):
        make_plan(on_nodes(a_node(cpu_milli=1000)), QUICK)


def test_what_is_not_placed_needs_no_service() -> None:
    huge = a_model("huge", an_option(gpu=99 * GIB), transformer="rare")
    scenario = with_models(with_transformers(two_models(), a_transformer("rare"), a_transformer()), huge)
    plan = make_plan(scenario, QUICK)
    assert [service.transformer for service in plan.services] == ["scale"]
    assert [(item.model, item.proven) for item in plan.refusals] == [("huge", True)]
    assert plan.bound is not None
    assert plan.bound.microusd_per_h == 1_000_000  # nothing says that it is these models which are placed


def test_a_plan_close_to_another_leaves_services_where_they_stand() -> None:
    first = make_plan(on_nodes(a_node("a", gpus=0), a_node("n")), QUICK)
    assert first.services[0].nodes == ("a",)
    grown = on_nodes(a_node("a", gpus=0), a_node("n"), a_node("b", gpus=0, cpu_milli=10**6))
    assert make_plan(grown, QUICK, base=first).services == first.services
    assert make_plan(grown, QUICK).services[0].nodes == ("b",)


def test_a_difference_names_services() -> None:
    scenario = two_models()
    plan = make_plan(scenario, QUICK)
    without = dataclasses.replace(plan, services=())
    assert diff_plans(without, plan).services_opened == plan.services
    assert diff_plans(plan, without).services_closed == plan.services
    assert not diff_plans(plan, without).is_empty


# ------------------------------------------------------------------------------------------------- online


def grown_by_one(scenario: Scenario) -> tuple[Scenario, Plan]:
    """A scenario to which a model comes that passes through a transformer nobody has named, and its plan."""
    plan = make_plan(scenario, QUICK)
    more = dataclasses.replace(scenario, transformers=(a_transformer("new"), *scenario.transformers))
    return with_models(more, a_model("z", transformer="new")), plan


def test_a_model_that_comes_brings_its_service() -> None:
    scenario, plan = grown_by_one(on_nodes(a_node("a", gpus=0), a_node("n", cpu_milli=5000)))
    grown = grow_plan(scenario, plan).plan
    assert grown.services == (Service(group="t", transformer="new", nodes=("a",)), *plan.services)
    assert grown.cost_microusd_per_h == plan.cost_microusd_per_h + 100_000
    assert verify(scenario, grown) == ()


def test_a_service_that_comes_takes_no_room_of_shards() -> None:
    scenario, plan = grown_by_one(on_nodes(a_node("n", cpu_milli=6000)))
    with pytest.raises(
        VerificationError, match=r"a transformer comes into use, and nothing may move: .*0 of 1"
    ):
        grow_plan(scenario, plan)


def test_a_service_goes_with_its_last_model() -> None:
    scenario = two_models()
    plan = make_plan(scenario, QUICK)
    left = a_scenario(a_model("c"))
    grown = grow_plan(left, plan).plan
    assert grown.services == ()


# -------------------------------------------------------------------------------------------------- relax


def test_relaxed_addresses_count_those_of_services() -> None:
    """Two shards and a service take three addresses."""
    models = [a_model(name, TEN, transformer="scale") for name in ("a", "b")]
    scenario = with_transformers(a_scenario(*models, cluster=Cluster(max_ips=2)), a_transformer())
    changes = [item.changes for item in relax(scenario).found if len(item.changes) == 1]
    assert ("cluster.maxIPs", 2, 3) in [(one.field, one.before, one.after) for (one,) in changes]


def test_models_of_two_groups_have_two_services() -> None:
    """A file that leaves a group open is refused; a scenario made otherwise is planned all the same."""
    types = (a_shard_type("t", max_count=1), a_shard_type("u", max_count=1))
    models = [a_model(name, TEN, transformer="scale") for name in ("a", "b")]
    plan = make_plan(with_transformers(a_scenario(*models, types=types), a_transformer()), QUICK)
    assert [service.group for service in plan.services] == ["t", "u"]
    assert plan.cost_microusd_per_h == 2_200_000
    assert plan.bound is not None
    assert plan.bound.microusd_per_h <= 2_200_000
