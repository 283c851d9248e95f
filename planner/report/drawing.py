"""The report's drawings as inline SVG: coloured by the page's style sheet, with a tooltip on every part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from planner.domain.plan import Plan
from planner.domain.rules import Rule
from planner.report.markup import Markup, element
from planner.report.usage import DeviceUse, ShardUse
from planner.report.words import gap_text, percent, usd_text
from planner.units import format_bytes

_WIDTH = 900
_LABEL = 190
_NOTE = 130
_BAR = _WIDTH - _LABEL - _NOTE
_ROW = 22
_THICK = 14
MOST_BARS = 60
"""Devices that are drawn one by one; a fleet of more shards gets a histogram as well."""
_MOST_PARTS = 80
"""Models of a bar that are drawn one by one: more would be thinner than a hair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a bar: the style it is drawn in, its size and what its tooltip says."""

    style: str
    size: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of parts: ``limit`` is the capacity line, ``total`` the whole length (in the parts' unit)."""

    label: str
    parts: tuple[Part, ...]
    limit: int
    total: int
    note: str


def device_bars(shards: Iterable[ShardUse]) -> Iterator[Bar]:
    """Yield a bar of its memory for every GPU."""
    for shard in shards:
        for device in shard.devices:
            if device.is_gpu:
                yield _device_bar(device)


def host_bars(shards: Iterable[ShardUse]) -> Iterator[Bar]:
    """Yield a bar of host memory for every shard without a GPU."""
    for shard in shards:
        if not any(device.is_gpu for device in shard.devices):
            yield _host_bar(shard)


def _device_bar(device: DeviceUse) -> Bar:
    own = device.reserved_bytes + device.context_bytes + device.pool_bytes
    fixed = [
        _part("fixed", own, "driver, context and pool"),
        _part("foreign", device.foreign_bytes, "foreign processes"),
        *(_part("base", size, f"base of {name}") for name, size in device.bases),
    ]
    models = [
        (f"{item.placed.model}#{item.placed.replica}", item.need.steady_bytes)
        for item in device.occupants
        if item.need.on_device
    ]
    return Bar(
        label=device.name,
        parts=(*fixed, *_model_parts(models)),
        limit=device.room.capacity_bytes,
        total=device.room.total_bytes,
        note=f"{format_bytes(device.used_bytes)} of {format_bytes(device.room.capacity_bytes)}",
    )


def _host_bar(shard: ShardUse) -> Bar:
    use = shard.host_use(Rule.HOST_MEMORY)
    capacity = use.capacity if use else 0
    used = use.used if use else 0
    models = [
        (f"{item.placed.model}#{item.placed.replica}", item.need.memory_bytes) for item in shard.occupants
    ]
    base = used - sum(size for _, size in models)
    return Bar(
        label=shard.shard.name,
        parts=(_part("base", base, "bases of the backends"), *_model_parts(models)),
        limit=capacity,
        total=capacity,
        note=f"{format_bytes(used)} of {format_bytes(capacity)}",
    )


def _part(style: str, size: int, what: str) -> Part:
    return Part(style=style, size=size, title=f"{what}: {format_bytes(size)}")


def _model_parts(models: Sequence[tuple[str, int]]) -> Iterator[Part]:
    """Yield a part a model, the largest first, in two alternating tints; the smallest of many as one."""
    ordered = sorted(models, key=lambda item: (-item[1], item[0]))
    for position, (name, size) in enumerate(ordered[:_MOST_PARTS]):
        yield _part("model-a" if position % 2 == 0 else "model-b", size, name)
    rest = ordered[_MOST_PARTS:]
    if rest:
        yield _part("model-rest", sum(size for _, size in rest), f"{len(rest):,} smaller models")


def draw_bars(bars: Sequence[Bar], *, title: str) -> Markup:
    """Return stacked bars, one below the other, each with its capacity as a line."""
    scale = max((bar.total for bar in bars), default=0)
    rows = [part for row, bar in enumerate(bars) for part in _draw_bar(bar, row * _ROW, scale)]
    return _svg(max(1, len(bars)) * _ROW + 4, title, rows)


def _draw_bar(bar: Bar, top: int, scale: int) -> Iterator[Markup]:
    unit = _BAR / scale if scale else 0.0
    y = top + (_ROW - _THICK) / 2
    yield element("text", _short(bar.label), x=_LABEL - 8, y=y + 11, class_="label")
    yield element("rect", x=_LABEL, y=y, width=bar.total * unit, height=_THICK, class_="free")
    x = float(_LABEL)
    for part in bar.parts:
        width = part.size * unit
        if width > 0:
            tip = element("title", part.title)
            yield element("rect", tip, x=x, y=y, width=width, height=_THICK, class_=part.style)
        x += width
    edge = _LABEL + bar.limit * unit
    yield element("line", x1=edge, x2=edge, y1=y - 3, y2=y + _THICK + 3, class_="limit")
    yield element("text", bar.note, x=_LABEL + _BAR + 8, y=y + 11, class_="note")


def _short(label: str) -> str:
    return label if len(label) <= 28 else f"{label[:13]}…{label[-14:]}"


def draw_cost(plan: Plan) -> Markup:
    """Return the plan's cost above its lower bound, on one scale."""
    cost = plan.cost_microusd_per_h
    rows = [("cost", "cost", cost, usd_text(cost))]
    if plan.bound is not None:
        low = plan.bound.microusd_per_h
        rows.append(("lower bound", "bound", low, f"{usd_text(low)}, gap {gap_text(plan)}"))
    parts: list[Markup] = []
    for row, (label, style, value, note) in enumerate(rows):
        y = row * _ROW + (_ROW - _THICK) / 2
        length = (_BAR - 90) * value / cost if cost else 0.0
        parts.append(element("text", label, x=_LABEL - 8, y=y + 11, class_="label"))
        parts.append(element("rect", x=_LABEL, y=y, width=length, height=_THICK, class_=style))
        parts.append(element("text", note, x=_LABEL + length + 8, y=y + 11, class_="note"))
    return _svg(len(rows) * _ROW + 4, "Cost and lower bound in USD an hour", parts)


def draw_histogram(shards: Iterable[ShardUse]) -> Markup:
    """Return how many shards are how full (by the fullest resource of each), in tenths."""
    counts = [0] * 10
    for shard in shards:
        if shard.binding is not None:
            counts[min(9, shard.binding.full_ppm // 100_000)] += 1
    most = max(counts) or 1
    parts: list[Markup] = []
    for tenth, count in enumerate(counts):
        y = tenth * _ROW + (_ROW - _THICK) / 2
        length = _BAR * count / most
        label = f"{percent(tenth * 100_000)} to {percent((tenth + 1) * 100_000)}"
        parts.append(element("text", label, x=_LABEL - 8, y=y + 11, class_="label"))
        parts.append(element("rect", x=_LABEL, y=y, width=length, height=_THICK, class_="model-a"))
        parts.append(element("text", f"{count:,}", x=_LABEL + length + 8, y=y + 11, class_="note"))
    return _svg(10 * _ROW + 4, "Shards by the share of their fullest resource", parts)


def _svg(height: int, title: str, parts: Iterable[Markup]) -> Markup:
    return element(
        "svg",
        element("title", title),
        *parts,
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        aria_label=title,
        width="100%",
    )
