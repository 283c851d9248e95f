"""The HTML report: well-formed, self-contained, safe and honest about what it leaves out."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from planner.domain.plan import Bound, Plan, Refusal
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.report.html import report_html
from planner.report.markup import Markup, element, html_table, join
from planner.report.rehearsal import Rehearsal, RehearsedDevice, RehearsedModel
from tests.support.builders import CPU, GIB, a_model, a_scenario, a_shard_type, an_option, models
from tests.support.plans import a_plan, a_shard, on

_VOID = {"meta", "br", "rect", "line", "path", "link", "img"}


class Page(HTMLParser):
    """Checks that tags are nested well, and keeps text, tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def a_reported_plan() -> tuple[Scenario, Plan]:
    scenario = a_scenario(
        *models(3, an_option(gpu=4 * GIB)),
        a_model("on-cpu", an_option(CPU, cpu=100, host=GIB)),
        a_model("huge", an_option(gpu=99 * GIB)),
        types=(a_shard_type(), a_shard_type("c", device_class=CPU, price=100_000)),
    )
    refusal = Refusal(
        model="huge", replicas=1, rule=Rule.DEVICE_MEMORY, subject="gpu-16", need=99 * GIB, have=16 * GIB
    )
    plan = a_plan(
        scenario,
        a_shard("t"),
        a_shard("c"),
        *(on(f"m-00{k}") for k in range(3)),
        on("on-cpu", "c"),
        bound=Bound(microusd_per_h=1_000_000, method="fluid-lp"),
        refusals=(refusal,),
        versions=(("shardpack", "9.9.9"),),
    )
    return scenario, plan


def test_a_report_says_what_a_reader_looks_for() -> None:
    scenario, plan = a_reported_plan()
    page = Page(report_html(scenario, plan))
    for wanted in (
        "1.1 USD/h",
        "1 USD/h",
        "1 GPU:",
        "1 CPU shard:",
        "fluid-lp",
        "9.09 %",
        "needs 99Gi of GPU memory, and gpu-16 has room for 16Gi",
        plan.scenario_sha256,
        "9.9.9",
        "seed 1",
        "m-000#0: 4Gi",
        "12Gi of 16Gi",
        "one model a service",
    ):
        assert wanted in page.text, wanted


def test_a_report_refers_to_nothing_outside_itself() -> None:
    text = report_html(*a_reported_plan())
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {name for name, _ in page.attributes} & {"href", "src", "srcset", "xlink:href", "action"}
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in text


def test_names_of_others_cannot_become_markup() -> None:
    hostile = '<script>alert("1")</script>&'
    scenario = a_scenario(
        a_model("m", tenant=hostile), types=(a_shard_type(hostile, group="t"),), name=hostile
    )
    refusal = Refusal(model=hostile, replicas=1, rule=Rule.TENANTS, subject=hostile)
    plan = a_plan(
        scenario, a_shard("t", hostile), on("m"), refusals=(refusal,), versions=((hostile, hostile),)
    )
    row = RehearsedModel(model=hostile, shard=hostile, endpoint=hostile, state=hostile, correct=True)
    text = report_html(scenario, plan, rehearsal=Rehearsal(models=(row,)))
    page = Page(text)
    assert "script" not in page.tags
    assert "<script" not in text
    assert hostile in page.text


def test_a_rehearsal_is_counted_and_wrong_answers_stand_out() -> None:
    address = "http://127.0.0.1:1/v2/models/a/infer"
    rows = (
        RehearsedModel(model="a", shard="t", endpoint=address, state="Loaded", correct=True),
        RehearsedModel(model="b", shard="t", endpoint=None, state="FailedToLoad", correct=False),
        RehearsedModel(model="c", shard="t", endpoint=None, state="Pending", correct=None),
    )
    devices = (
        RehearsedDevice(device="t/0", planned_bytes=2048, measured_bytes=2048),
        RehearsedDevice(device="t/1", planned_bytes=2048, measured_bytes=1024),
    )
    page = Page(report_html(*a_reported_plan(), rehearsal=Rehearsal(models=rows, devices=devices)))
    assert "1 of 2 models that were asked gave their own prediction" in page.text
    for wanted in (
        "correct",
        "wrong",
        "not asked",
        "FailedToLoad",
        "1 of 2 GPUs held exactly",
        "-1,024",
        "+0",
    ):
        assert wanted in page.text
    assert "Rehearsal" not in Page(report_html(*a_reported_plan())).text


def test_a_large_fleet_is_cut_and_says_so() -> None:
    scenario = a_scenario(*models(600, an_option(gpu=9 * GIB)))
    names = ["t", *(f"t-{k}" for k in range(1, 600))]
    placed = [on(model.name, name) for model, name in zip(scenario.models, names, strict=True)]
    plan = a_plan(scenario, *(a_shard(name, "t") for name in names), *placed)
    text = report_html(scenario, plan)
    page = Page(text)
    assert "600 shards by how full they are" in page.text
    assert "The first 60 of 600 GPUs" in page.text
    assert "The first 500 of 600 rows are shown" in page.text
    assert len(text) < 400_000


def test_a_device_with_many_models_draws_the_smallest_as_one() -> None:
    scenario = a_scenario(*models(100, an_option(gpu=2**20)))
    plan = a_plan(scenario, *(on(model.name) for model in scenario.models))
    assert "20 smaller models: 20Mi" in Page(report_html(scenario, plan)).text


def test_an_empty_plan_has_a_report() -> None:
    scenario = a_scenario()
    plan = a_plan(scenario, placement=a_plan(scenario).placement.__class__(), cost_microusd_per_h=0)
    page = Page(report_html(scenario, plan))
    assert "No shard is open" in page.text
    assert "Nothing is refused" in page.text


# --------------------------------------------------------------------------------------------- markup


def test_text_is_escaped_and_markup_is_not() -> None:
    assert element("p", "a < b", element("b", "&")) == "<p>a &lt; b<b>&amp;</b></p>"
    assert join(("<", Markup("<br/>"))) == "&lt;<br/>"


def test_attributes_are_escaped_and_none_is_left_out() -> None:
    made = element("rect", class_='a"b', x=1.50, stroke_width=2, id=None)
    assert made == '<rect class="a&quot;b" x="1.5" stroke-width="2"/>'


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (10.0, "10"), (1 / 3, "0.33"), (100, "100")])
def test_numbers_in_attributes_are_short(value: float, text: str) -> None:
    assert element("rect", x=value) == f'<rect x="{text}"/>'


def test_a_table_marks_its_numbers() -> None:
    made = html_table(("name", "size"), [("a", "1")], right=(1,))
    assert '<td class="number">1</td>' in made
    assert "<td>a</td>" in made
