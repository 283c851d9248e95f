"""A plan as one HTML page that needs nothing else: no network, no script, no picture file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files

from planner.domain.plan import Plan
from planner.domain.rules import UNITS
from planner.domain.scenario import Scenario
from planner.report.drawing import MOST_BARS, device_bars, draw_bars, draw_cost, draw_histogram, host_bars
from planner.report.explain import explain_plan
from planner.report.limits import assumption_lines, ceiling_rows, serving_rows, transformer_lines
from planner.report.markup import Markup, element, html_table, join
from planner.report.rehearsal import Rehearsal, RehearsedDevice
from planner.report.rehearsing import change_lines, summary_lines, trouble_lines
from planner.report.rehearsing import shard_headers as rehearsed_headers
from planner.report.rehearsing import shard_rows as rehearsed_rows
from planner.report.text import (
    SERVICE_HEADERS,
    budget_text,
    reading_order,
    service_rows,
    shard_headers,
    shard_rows,
)
from planner.report.usage import ShardUse, placement_usage
from planner.report.words import (
    RULE_NAMES,
    amount,
    gap_text,
    percent,
    plural,
    refusal_groups,
)
from planner.sizing.limits import serving_limits
from planner.units import format_bytes, format_usd

_MOST_ROWS = 500
_LEGEND = (
    ("fixed", "driver, context, pool"),
    ("foreign", "foreign processes"),
    ("base", "backend bases"),
    ("model-a", "models"),
    ("free", "free"),
    ("limit", "capacity (headroom is beyond it)"),
)


def report_html(scenario: Scenario, plan: Plan, *, rehearsal: Rehearsal | None = None) -> str:
    """Return the report of a verified plan.

    Parameters
    ----------
    scenario, plan
        A plan that ``domain.verify`` accepts for its scenario.
    rehearsal
        What was seen when it was carried out; None leaves that section out.
    """
    shards = sorted(placement_usage(scenario, plan.placement), key=reading_order)
    title = f"Plan {plan.name}"
    body = element(
        "body",
        element("h1", title),
        element(
            "p", f"namespace {plan.namespace}, {plan.status}, verified against its scenario", class_="soft"
        ),
        _tiles(scenario, plan),
        *_cost_section(scenario, plan),
        *_rehearsal_section(rehearsal),
        *_refusal_section(plan),
        *_shard_section(shards),
        *_service_section(scenario, plan),
        *_limits_section(scenario, plan),
        *_provenance_section(plan),
    )
    style = Markup(files("planner.report").joinpath("report.css").read_text(encoding="utf-8"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title} - Shardpack"),
        element("style", style),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _section(title: str, *content: Markup) -> Markup:
    return element("section", element("h2", title), *content)


def _soft(text: str) -> Markup:
    return element("p", text, class_="soft")


# -------------------------------------------------------------------------------------- cost and bound


def _tiles(scenario: Scenario, plan: Plan) -> Markup:
    refused = sum(refusal.replicas for refusal in plan.refusals)
    bound, method = "no bound", "lower bound"
    if plan.bound is not None:
        bound, method = format_usd(plan.bound.microusd_per_h), f"lower bound, USD/h ({plan.bound.method})"
    tiles = (
        ("cost, USD/h", format_usd(plan.cost_microusd_per_h), None),
        (method, bound, None),
        ("gap", gap_text(plan), None),
        ("shards", f"{len(plan.placement.shards):,}", None),
        ("models", f"{len(scenario.models):,}", None),
        ("replicas placed", f"{len(plan.placement.placed):,}", None),
        ("replicas refused", f"{refused:,}", "bad" if refused else "good"),
    )
    return element(
        "div",
        *(
            element("div", element("b", value, class_=style), element("span", what), class_="tile")
            for what, value, style in tiles
        ),
        class_="tiles",
    )


def _cost_section(scenario: Scenario, plan: Plan) -> Iterator[Markup]:
    found = explain_plan(scenario, plan)
    binding = [f"{RULE_NAMES[rule]} ({plural(count, 'shard')})" for rule, count in found.binding_shards]
    words = [f"What is fullest: {', '.join(binding)}."] if binding else []
    if found.saved_at_p50_bytes:
        saved = format_bytes(found.saved_at_p50_bytes)
        words.append(f"Planning with p50 instead would need {saved} less GPU memory.")
    rows = [
        (
            RULE_NAMES[use.rule],
            amount(use.used, UNITS[use.rule]),
            amount(use.capacity, UNITS[use.rule]),
            percent(use.full_ppm),
        )
        for use in found.overall
    ]
    table = html_table(("resource, all shards", "used", "capacity", "full"), rows, right=(1, 2, 3))
    yield _section("Cost against bound", draw_cost(plan), *map(_soft, words), *([table] if rows else []))


# ------------------------------------------------------------------------------------------ rehearsal


def _rehearsal_section(rehearsal: Rehearsal | None) -> Iterator[Markup]:
    if rehearsal is None:
        return
    asked = [row for row in rehearsal.models if row.correct is not None]
    right = sum(row.correct is True for row in asked)
    rows = [
        (row.model, row.shard, row.state, _verdict(row.correct), row.endpoint or "-")
        for row in rehearsal.models[:_MOST_ROWS]
    ]
    yield _section(
        "Rehearsal on real servers",
        element(
            "p",
            f"{right:,} of {plural(len(asked), 'model')} that were asked gave their own prediction.",
            class_="good" if right == len(asked) else "bad",
        ),
        _soft(
            "Servers, agents and requests were real; the GPUs and their memory were simulated on one machine."
        ),
        html_table(("model", "shard", "state", "answer", "endpoint"), rows),
        *_left_out(len(rehearsal.models)),
        *_device_table(rehearsal.devices),
        *_rehearsed_shards(rehearsal),
    )


def _rehearsed_shards(rehearsal: Rehearsal) -> Iterator[Markup]:
    if not rehearsal.shards:
        return
    style = "good" if rehearsal.as_planned else "bad"
    lines = [*trouble_lines(rehearsal.shards), *summary_lines(rehearsal)]
    if rehearsal.change is not None:
        lines += change_lines(rehearsal.change, rehearsal.before)
    yield element("p", "As planned." if rehearsal.as_planned else "Not as planned.", class_=style)
    rows = rehearsed_rows(rehearsal.shards[:_MOST_ROWS], wide=True)
    yield html_table(rehearsed_headers(wide=True), rows, right=(2, 3, 7, 8, 9, 10))
    yield from map(_soft, lines)


def _device_table(devices: Sequence[RehearsedDevice]) -> Iterator[Markup]:
    if not devices:
        return
    exact = sum(item.difference_bytes == 0 for item in devices)
    yield element(
        "p",
        f"{exact:,} of {plural(len(devices), 'GPU')} held exactly the bytes that the plan said.",
        class_="good" if exact == len(devices) else "bad",
    )
    rows = [
        (
            item.device,
            f"{item.planned_bytes + item.kept_bytes:,}",
            f"{item.measured_bytes:,}",
            f"{item.difference_bytes:+,}",
        )
        for item in devices[:_MOST_ROWS]
    ]
    headers = ("GPU", "planned bytes, without the driver's", "bytes by NVML", "difference")
    yield html_table(headers, rows, right=(1, 2, 3))


def _verdict(correct: bool | None) -> Markup:  # noqa: FBT001 - one value is what it is about
    if correct is None:
        return element("span", "not asked", class_="soft")
    return element("span", "correct" if correct else "wrong", class_="good" if correct else "bad")


def _left_out(count: int) -> Iterator[Markup]:
    if count > _MOST_ROWS:
        yield _soft(f"The first {_MOST_ROWS:,} of {count:,} rows are shown; the plan file has them all.")


# ------------------------------------------------------------------------------------------- refusals


def _refusal_section(plan: Plan) -> Iterator[Markup]:
    if not plan.refusals:
        yield _section("Refusals", _soft("Nothing is refused: every replica of every model is placed."))
        return
    groups = refusal_groups(plan.refusals)
    rows = [
        (group.names(most=5), f"{group.replicas:,}", RULE_NAMES[group.rule], group.reason)
        for group in groups[:_MOST_ROWS]
    ]
    table = html_table(("models", "replicas", "rule", "why"), rows, right=(1,))
    yield _section("What was refused, and why", table, *_left_out(len(groups)))


# --------------------------------------------------------------------------------------------- shards


def _shard_section(shards: Sequence[ShardUse]) -> Iterator[Markup]:
    if not shards:
        yield _section("Shards", _soft("No shard is open."))
        return
    many: list[Markup] = []
    if len(shards) > MOST_BARS:
        text = f"{len(shards):,} shards by how full they are (the fullest resource of each):"
        many = [_soft(text), draw_histogram(shards)]
    rows = shard_rows(shards[:_MOST_ROWS], wide=True)
    table = html_table(shard_headers(wide=True), rows, right=(3, 5, 6), style="dense")
    yield _section("Shards", *many, *_bars(shards), table, *_left_out(len(shards)))


def _service_section(scenario: Scenario, plan: Plan) -> Iterator[Markup]:
    if plan.services:
        rows = service_rows(scenario, plan)
        yield _section("Transformers", html_table(SERVICE_HEADERS, rows, right=(2, 3, 7)))


def _bars(shards: Sequence[ShardUse]) -> Iterator[Markup]:
    """Yield the memory of GPUs, then the host memory of shards without: each kind has its own scale."""
    yield _legend()
    for noun, bars in (("GPU", list(device_bars(shards))), ("CPU shard", list(host_bars(shards)))):
        if bars:
            drawn = min(len(bars), MOST_BARS)
            count = plural(len(bars), noun)
            yield _soft(f"The first {drawn} of {count}:" if drawn < len(bars) else f"{count}:")
            yield draw_bars(bars[:MOST_BARS], title=f"Memory of every {noun}, stacked by what takes it")


def _legend() -> Markup:
    return element(
        "div",
        *(element("span", element("i", class_=style), text) for style, text in _LEGEND),
        class_="legend",
    )


# ------------------------------------------------------------------------------- limits and provenance


def _limits_section(scenario: Scenario, plan: Plan) -> Iterator[Markup]:
    limits = serving_limits(scenario, plan)
    ceilings = ceiling_rows(limits)
    headers = ("most models under the limit of", "reckoned with", "one model a service", "shards")
    more = [html_table(headers, ceilings, right=(2, 3))] if ceilings else []
    yield _section(
        "Three limits: one model a service against shards",
        html_table(("", "one model a service", "shards"), serving_rows(limits), right=(1, 2)),
        *map(_soft, transformer_lines(limits.sharded)),
        element("p", ""),
        *more,
        *(_soft(line) for line in assumption_lines(limits.assumptions) if line),
    )


def _provenance_section(plan: Plan) -> Iterator[Markup]:
    rows = [
        ("scenario", f"{plan.name}, sha256 {plan.scenario_sha256}"),
        ("search", budget_text(plan)),
        *((name, version) for name, version in plan.versions),
    ]
    if plan.base_sha256 is not None:
        rows.append(("close to the plan", f"sha256 {plan.base_sha256}"))
    yield _section("Provenance", html_table(("what", "value"), rows), join(()))
