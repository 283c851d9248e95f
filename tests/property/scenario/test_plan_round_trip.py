"""Any plan is read from its file as it was, and its file is the only text that it has."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Bound, Budget, Plan, Refusal
from planner.domain.references import find_broken_references
from planner.domain.rules import Rule
from planner.domain.scenario import names
from planner.scenario.plan_file import check_figures, parse_plan, plan_text
from tests.support.builders import GIB, MIB, a_model, a_scenario, an_option

NAMES = ("a", "b", "c", "d")
SCENARIO = a_scenario(
    *(
        a_model(name, an_option(gpu=(n + 1) * MIB), an_option("cpu", host=GIB), replicas=4)
        for n, name in enumerate(NAMES)
    )
)
PRINTABLE = st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))
SHA = st.text("0123456789abcdef", min_size=64, max_size=64)
# up to a billion dollars an hour, to the millionth
PRICES = st.integers(0, 10**15)
NUMBERS = st.none() | st.integers(-(2**62), 2**62)

PLACED = st.builds(
    Placed,
    model=st.sampled_from(NAMES),
    replica=st.integers(0, 3),
    shard=st.sampled_from(("t", "t-1")),
    devices=st.just((0,)),
    option=st.integers(0, 1),
)
REFUSALS = st.builds(
    Refusal,
    model=st.sampled_from(NAMES),
    replicas=st.integers(1, 9),
    rule=st.sampled_from(Rule),
    subject=st.text(PRINTABLE, max_size=5),
    need=NUMBERS,
    have=NUMBERS,
    proven=st.booleans(),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    placed = draw(st.lists(PLACED, max_size=6, unique_by=lambda item: (item.model, item.replica)))
    refusals = draw(st.lists(REFUSALS, max_size=3, unique_by=lambda item: (item.model, item.rule)))
    return Plan(
        name=draw(st.sampled_from(("x", "long-name"))),
        namespace="n",
        scenario_sha256=draw(SHA),
        seed=draw(st.integers(0, 2**63 - 1)),
        budget=draw(
            st.builds(
                Budget,
                work=st.integers(0, 10**9),
                time_limit_ms=st.none() | st.integers(0, 10**9),
                workers=st.integers(1, 64),
            )
        ),
        stopped_by_clock=draw(st.booleans()),
        versions=draw(st.sampled_from(((), (("ortools", "9"), ("shardpack", "1"))))),
        status=draw(st.sampled_from(("optimal", "feasible", "infeasible"))),
        placement=Placement(
            shards=(Shard(name="t", shard_type="t"), Shard(name="t-1", shard_type="t")),
            placed=tuple(sorted(placed)),
        ),
        cost_microusd_per_h=draw(PRICES),
        bound=draw(st.none() | st.builds(Bound, microusd_per_h=PRICES, method=st.just("fluid-lp"))),
        refusals=tuple(sorted(refusals, key=lambda item: (item.model, item.rule.value))),
        base_sha256=draw(st.none() | SHA),
    )


@settings(max_examples=200)
@given(plans())
def test_a_plan_is_read_as_it_was(plan: Plan) -> None:
    text = plan_text(plan, SCENARIO)
    found = parse_plan(text, file="p")
    assert found == plan
    assert plan_text(found, SCENARIO) == text


@settings(max_examples=100)
@given(plans())
def test_the_figures_as_written_follow_from_the_plan(plan: Plan) -> None:
    assert not list(find_broken_references(names(SCENARIO), plan.placement))
    assert check_figures(json.loads(plan_text(plan, SCENARIO)), plan, SCENARIO) == ()
