"""Tables and summaries for terminals."""

from __future__ import annotations

import dataclasses

import pytest

from planner.domain.difference import diff_plans
from planner.domain.fleet import Cluster, LoadCost, Runtime
from planner.domain.plan import Bound, Budget, Refusal
from planner.domain.rules import Rule
from planner.report.differences import difference_tables, difference_text
from planner.report.limits import limits_text
from planner.report.subjects import limit_names
from planner.report.text import change_lines, plan_summary, plan_table, refusal_lines, table
from planner.report.words import seconds_text
from planner.scenario.plan_file import plan_document
from planner.sizing.limits import serving_limits
from tests.support.builders import CPU, GIB, a_model, a_scenario, a_shard_type, an_option, models
from tests.support.plans import a_plan, a_shard, on


def test_columns_are_aligned_and_lines_have_no_spaces_at_their_end() -> None:
    text = table(("name", "size"), [("a", "1"), ("long-name", "100")], right=(1,))
    assert text.split("\n") == ["NAME        SIZE", "a              1", "long-name    100"]


def test_an_empty_table_is_its_header() -> None:
    assert table(("name", "size"), []) == "NAME   SIZE"


def test_a_plan_is_a_line_a_shard() -> None:
    scenario = a_scenario(
        a_model("a", an_option(gpu=4 * GIB)),
        a_model("b", an_option(CPU, cpu=500)),
        types=(
            a_shard_type(price=526_000),
            a_shard_type("c", device_class=CPU, cpu_milli=1_000, price=100_000),
        ),
    )
    plan = a_plan(scenario, a_shard("c"), a_shard("t"), on("a"), on("b", "c"))
    lines = plan_table(scenario, plan).split("\n")
    assert lines[0].split() == ["NAME", "TYPE", "NODE", "MODELS", "GPU", "MEMORY", "FULL", "USD/H"]
    assert lines[1].split() == ["c", "c", "-", "1", "-", "50.0", "%", "0.1"]
    assert lines[2].split() == ["t", "t", "-", "1", "4Gi/16Gi", "25.0", "%", "0.526"]
    wide = plan_table(scenario, plan, wide=True).split("\n")
    assert "CPU" in wide[1]
    assert "GPU memory" in wide[2]


def test_a_summary_says_cost_bound_gap_and_budget() -> None:
    scenario = a_scenario(a_model("a"), a_model("b", replicas=2))
    plan = a_plan(
        scenario,
        on("a"),
        seed=7,
        budget=Budget(work=50, time_limit_ms=1_500, workers=2),
        stopped_by_clock=True,
        bound=Bound(microusd_per_h=900_000, method="fluid-lp"),
        refusals=(Refusal(model="b", replicas=2, rule=Rule.MAX_COUNT, subject="t", need=2, have=1),),
    )
    assert plan_summary(scenario, plan).split("\n") == [
        "cost     1 USD/h, 1 shard, 1 GPU",
        "bound    0.9 USD/h (fluid-lp), gap 10.00 %",
        "placed   1 of 3 replicas; 2 replicas of 1 model refused",
        "search   feasible, seed 7, work 50, 2 workers, at most 1.5 s, stopped by the clock",
    ]


def test_a_summary_says_what_loads_take_and_what_a_change_loads() -> None:
    loads = LoadCost(each_ns=2 * 10**9, per_known_ns=10**9, at_start_ns=10**8)
    scenario = a_scenario(
        *models(30),
        types=(a_shard_type(), a_shard_type("u")),
        runtimes=(Runtime(name="triton", loads=loads),),
    )
    before = a_plan(scenario, a_shard("t"), *(on(f"m-{number:03}") for number in range(20)))
    after = a_plan(
        scenario,
        a_shard("t"),
        a_shard("u"),
        *(on(f"m-{number:03}", "t" if number < 22 else "u") for number in range(30)),
    )
    lines = plan_summary(scenario, after, base=before).split("\n")
    assert "loads    2.2 s at a cold start, 5 min one by one: t, 22 models" in lines
    assert "changes  2 loads on shards that stand, 8 models on new shards; 45 s on t" in lines
    assert not any(line.startswith("changes") for line in plan_summary(scenario, after).split("\n"))
    assert change_lines(scenario, after, after) == []


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0 s"), (1, "0.1 s"), (9_940_000_000, "9.9 s"), (119 * 10**9, "119 s"), (7_200 * 10**9, "120 min")],
)
def test_times_are_as_exact_as_estimates_are(nanoseconds: int, text: str) -> None:
    assert seconds_text(nanoseconds) == text


def test_no_bound_is_said() -> None:
    scenario = a_scenario(a_model("a"))
    assert "bound    no bound" in plan_summary(scenario, a_plan(scenario, on("a")))


def test_many_reasons_are_cut_and_counted() -> None:
    refusals = [
        Refusal(model=f"m-{k}", replicas=1, rule=Rule.DEVICE_MEMORY, subject="g", need=k + 2, have=1)
        for k in range(25)
    ]
    lines = refusal_lines(refusals, most=20)
    assert len(lines) == 21
    assert lines[-1] == "and 5 more replicas for 5 more reasons"


def test_a_difference_is_a_line_a_change() -> None:
    scenario = a_scenario(*models(3))
    before = a_plan(scenario, a_shard("t"), on("m-000"), on("m-001"))
    after = a_plan(scenario, a_shard("t"), a_shard("t-1", "t"), on("m-000"), on("m-001", "t-1"), on("m-002"))
    assert difference_text(diff_plans(before, after)).split("\n") == [
        "+ shard t-1 (t)",
        "+ model m-002#0 on t/0",
        "~ model m-001#0 from t/0 to t-1/0",
        "cost 1 USD/h to 2 USD/h (+1 USD/h)",
    ]
    assert difference_text(diff_plans(after, before)).endswith("cost 2 USD/h to 1 USD/h (-1 USD/h)")
    assert difference_text(diff_plans(before, before)) == "the plans place and refuse alike"
    dearer = dataclasses.replace(before, cost_microusd_per_h=1_500_000)
    text = difference_text(diff_plans(before, dearer))
    assert text == "the plans place and refuse alike; cost 1 USD/h to 1.5 USD/h (+0.5 USD/h)"


def test_wide_differences_say_devices_options_and_how_full_shards_get() -> None:
    scenario = a_scenario(
        a_model("m", an_option(gpu=GIB), an_option(gpu=2 * GIB)),
        a_model("gone"),
        types=(a_shard_type(device_count=2),),
    )
    refusal = Refusal(model="gone", replicas=1, rule=Rule.MAX_COUNT, subject="t", need=2, have=1)
    before = a_plan(scenario, on("m", "t", 0), refusals=(refusal,))
    after = a_plan(scenario, a_shard(), a_shard("t-1", "t"), on("m", "t", 1, option=1), on("gone", "t-1"))
    documents = plan_document(before, scenario), plan_document(after, scenario)
    lines = difference_tables(diff_plans(before, after), *documents).splitlines()
    assert [line.split() for line in lines] == [
        ["KIND", "NAME", "FROM", "DEVICE", "TO", "DEVICE", "OPTION"],
        ["+", "shard", "t-1", "-", "-", "t", "gpu-16,", "gpu-16", "-"],
        ["+", "model", "gone#0", "-", "-", "t-1/0", "gpu-16", "0"],
        ["~", "model", "m#0", "t/0", "gpu-16", "t/1", "gpu-16", "0", "to", "1"],
        ["-", "refusal", "gone", "1", "replica", "[max-count]", "-", "-", "-", "-"],
        [],
        ["SHARD", "MODELS", "GPU", "MEMORY", "GPU", "TIME", "CPU", "MEMORY", "DISK"],
        ["t", "1", "1Gi", "to", "2Gi", "0", "0", "0", "0"],
        [
            "t-1",
            *[
                "-",
                "to",
                "1",
                "-",
                "to",
                "1Gi",
                "-",
                "to",
                "0",
                "-",
                "to",
                "0",
                "-",
                "to",
                "0",
                "-",
                "to",
                "0",
            ],
        ],
        [],
        ["cost", "1", "USD/h", "to", "2", "USD/h", "(+1", "USD/h)"],
    ]
    back = difference_tables(diff_plans(after, before), *reversed(documents))
    assert "+   refusal   gone" in back
    assert "1 to 0" in back
    same = diff_plans(before, before)
    assert difference_tables(same, documents[0], documents[0]) == difference_text(same)


def test_limits_are_printed_with_their_assumptions() -> None:
    scenario = a_scenario(
        *models(10, an_option(gpu=GIB), replicas=2),
        types=(a_shard_type(overhead_cpu_milli=500, overhead_memory_bytes=500 * 10**6),),
        cluster=Cluster(nodes=50, usable_pods_per_node=80, max_ips=4096),
    )
    text = limits_text(serving_limits(scenario, transformer_replicas=2))
    assert "50 nodes (cluster.nodes), at most 110 pods a node, of which 80 are usable." in text
    assert "2 transformer pods a service" in text
    assert "1,024" in text
    assert "1,000" in text
    assert "1,375" in text


def test_limits_that_nobody_set_are_named() -> None:
    text = limits_text(serving_limits(a_scenario(a_model("a"))))
    assert "The pods are not limited" in text
    assert "The addresses are not limited" in text


def test_wide_limits_say_how_each_figure_was_reckoned() -> None:
    half = {"overhead_cpu_milli": 500, "overhead_memory_bytes": GIB}
    scenario = a_scenario(
        a_model("a", an_option(gpu=GIB), replicas=2),
        a_model("b", an_option(CPU)),
        types=(a_shard_type(**half), a_shard_type("c", device_class=CPU, overhead_cpu_milli=100)),
        cluster=Cluster(nodes=2, max_pods_per_node=10),
    )
    plan = a_plan(
        scenario,
        a_shard(),
        a_shard("t-1", "t"),
        a_shard("c"),
        on("a"),
        on("a", "t-1", replica=1),
        on("b", "c"),
    )
    text = limits_text(serving_limits(scenario, plan, transformer_replicas=1), wide=True)
    lines = {line.split("   ")[0].strip(): line for line in text.splitlines()}
    assert "3 replicas + 2 x 1 transformer " in lines["pods = IP addresses"]
    assert "5 pods, 340m each on average" in lines["sidecar CPU"]  # 3 x 500m + 2 x 100m
    assert "1.1 / 2 models, rounded up" in lines["sidecar CPU a model"]  # 2 x 500m + 100m on shards
    assert "20 x 2 models / 5 pods, rounded down" in lines["pods"]
    assert "20 x 2 models / 3 pods, rounded down" in lines["pods"]


def test_wide_limits_without_a_plan_leave_the_shards_open() -> None:
    scenario = a_scenario(a_model("a"), cluster=Cluster(max_ips=5))
    text = limits_text(serving_limits(scenario), wide=True)
    row = next(line for line in text.splitlines() if line.startswith("  IP addresses"))
    assert row.split()[-2:] == ["-", "-"]
    assert limits_text(serving_limits(a_scenario()), wide=True)


def test_the_tightest_limit_is_named_first() -> None:
    scenario = a_scenario(a_model("a"), cluster=Cluster(nodes=50, usable_pods_per_node=80, max_ips=10))
    assert list(limit_names(serving_limits(scenario))) == ["limit/ips", "limit/pods", "limit/pods"]
    assert list(limit_names(serving_limits(a_scenario(a_model("a"))))) == []
