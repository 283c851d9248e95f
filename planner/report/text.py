"""Plain text for terminals: kubectl's tables and the lines around them. Needs nothing but the domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from planner.domain.loading import change_loads, start_loads
from planner.domain.plan import Plan, Refusal
from planner.domain.rules import UNITS, Rule
from planner.domain.scenario import Scenario
from planner.domain.services import services_pods
from planner.report.usage import ResourceUse, ShardUse, placement_usage
from planner.report.words import (
    RULE_NAMES,
    amount,
    gap_text,
    percent,
    plural,
    refusal_groups,
    seconds_text,
    usd_text,
)

_GAP = "   "
_MOST_REFUSALS = 20


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return a table with aligned columns and no lines.

    Parameters
    ----------
    headers
        One a column, written in capitals.
    right
        Positions of the columns that are aligned to the right.
    """
    cells = [[header.upper() for header in headers], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    to_right = set(right)
    lines = (
        _GAP.join(
            cell.rjust(widths[column]) if column in to_right else cell.ljust(widths[column])
            for column, cell in enumerate(row)
        ).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def plan_table(scenario: Scenario, plan: Plan, *, wide: bool = False) -> str:
    """Return one line a shard: type, node, models, GPU memory, how full it is and its price.

    ``full`` is the share of the fullest resource; ``wide`` names it and adds CPU, memory and disk.
    """
    shards = sorted(placement_usage(scenario, plan.placement), key=reading_order)
    rows = shard_rows(shards, wide=wide)
    return table(shard_headers(wide=wide), rows, right=(3, 5, 6))


SERVICE_HEADERS = ("transformer", "group", "models", "pods", "nodes", "CPU", "memory", "USD/h")


def service_table(scenario: Scenario, plan: Plan) -> str:
    """Return one line a transformer that stands: its group, models, pods, nodes, CPU, memory and price."""
    return table(SERVICE_HEADERS, service_rows(scenario, plan), right=(2, 3, 7))


def service_rows(scenario: Scenario, plan: Plan) -> list[tuple[str, ...]]:
    """Return a row a transformer that stands, as ``SERVICE_HEADERS`` names its cells."""
    known = {item.name: item for item in scenario.transformers}
    groups = {item.name: item.group for item in scenario.shard_types}
    group_of = {shard.name: groups[shard.shard_type] for shard in plan.placement.shards}
    through = {model.name: model.transformer for model in scenario.models if model.transformer is not None}
    pairs = {(group_of[item.shard], item.model) for item in plan.placement.placed if item.model in through}
    models = Counter((group, through[model]) for group, model in pairs)
    return [
        (
            service.name,
            service.group,
            f"{models[service.group, service.transformer]:,}",
            f"{item.replicas:,}",
            ", ".join(service.nodes) or "-",
            amount(item.cpu_milli * item.replicas, "milli"),
            amount(item.memory_bytes * item.replicas, "bytes"),
            usd_text(item.price_microusd_per_h).removesuffix(" USD/h"),
        )
        for service in plan.services
        for item in (known[service.transformer],)
    ]


def reading_order(shard: ShardUse) -> tuple[str, int, str]:
    """Return the key by which people sort shards: ``news-2`` before ``news-10``."""
    name = shard.shard.name
    base, _, number = name.rpartition("-")
    return (base, int(number), name) if base and number.isdecimal() else (name, -1, name)


def shard_headers(*, wide: bool) -> list[str]:
    """Return the headers of a table of shards."""
    headers = ["name", "type", "node", "models", "GPU memory", "full", "USD/h"]
    return headers + (["binds", "CPU", "memory", "disk", "GPU time"] if wide else [])


def shard_rows(shards: Iterable[ShardUse], *, wide: bool) -> list[list[str]]:
    """Return a row a shard, as ``shard_headers`` names its cells."""
    return [_shard_row(shard, wide=wide) for shard in shards]


def _shard_row(shard: ShardUse, *, wide: bool) -> list[str]:
    binding = shard.binding
    capacity = shard.device_capacity_bytes
    row = [
        shard.shard.name,
        shard.shard_type.name,
        shard.shard.node or "-",
        f"{len(shard.occupants):,}",
        _of(shard.device_used_bytes, capacity, "bytes") if capacity else "-",
        percent(binding.full_ppm) if binding else "-",
        usd_text(shard.shard_type.price_microusd_per_h).removesuffix(" USD/h"),
    ]
    return row + _wide_cells(shard, binding) if wide else row


def _wide_cells(shard: ShardUse, binding: ResourceUse | None) -> list[str]:
    gpus = [device for device in shard.devices if device.is_gpu]
    used, capacity = sum(gpu.used_milli for gpu in gpus), sum(gpu.room.capacity_milli for gpu in gpus)
    return [
        binding.name or RULE_NAMES[binding.rule] if binding else "-",
        *(_host(shard.host_use(rule)) for rule in (Rule.CPU, Rule.HOST_MEMORY, Rule.DISK)),
        _of(used, capacity, "milli") if gpus else "-",
    ]


def _of(used: int, capacity: int, unit: str) -> str:
    return f"{amount(used, unit)}/{amount(capacity, unit)}"


def _host(use: ResourceUse | None) -> str:
    return "-" if use is None else _of(use.used, use.capacity, UNITS[use.rule])


def plan_summary(scenario: Scenario, plan: Plan, *, base: Plan | None = None) -> str:
    """Return what a plan costs, its bound and gap, what is placed and how it was searched, in a line each.

    Further lines say how long loads take, and what it moves and loads of the plan that it was to stay close
    to, ``base``.
    """
    is_gpu = {item.name: item.kind == "gpu" for item in scenario.device_classes}
    gpus = {item.name: item.device_count * is_gpu[item.device_class] for item in scenario.shard_types}
    shards = plan.placement.shards
    wanted = sum(model.replicas for model in scenario.models)
    refused = sum(refusal.replicas for refusal in plan.refusals)
    count = sum(gpus[shard.shard_type] for shard in shards)
    bound = "no bound"
    if plan.bound is not None:
        bound = f"{usd_text(plan.bound.microusd_per_h)} ({plan.bound.method}), gap {gap_text(plan)}"
    missing = (
        f"; {plural(refused, 'replica')} of {plural(len(plan.refusals), 'model')} refused" if refused else ""
    )
    cost = usd_text(plan.cost_microusd_per_h)
    pods = services_pods(scenario, plan.services)
    beside = f", {plural(len(plan.services), 'transformer')} in {plural(pods, 'pod')}" if pods else ""
    return "\n".join(
        (
            f"cost     {cost}, {plural(len(shards), 'shard')}, {plural(count, 'GPU')}{beside}",
            f"bound    {bound}",
            f"placed   {len(plan.placement.placed):,} of {plural(wanted, 'replica')}{missing}",
            *moves_lines(plan),
            *start_lines(scenario, plan),
            *([] if base is None else change_lines(scenario, base, plan)),
            f"search   {plan.status}, {budget_text(plan)}",
        )
    )


def moves_lines(plan: Plan) -> list[str]:
    """Return a line with what a plan moves and has to move; none without an earlier plan."""
    if plan.moves is None:
        return []
    return [f"moves    {plan.moves.count:,}, at least {plan.moves.at_least:,}"]


def start_lines(scenario: Scenario, plan: Plan) -> list[str]:
    """Return a line with what the shard that takes longest needs for all its models; none if not known."""
    loads = start_loads(scenario, plan.placement)
    if not loads:
        return []
    last = max(loads, key=lambda item: item.one_by_one_ns)
    times = f"{seconds_text(last.start_ns)} at a cold start, {seconds_text(last.one_by_one_ns)} one by one"
    return [f"loads    {times}: {last.shard}, {plural(last.count, 'model')}"]


def change_lines(scenario: Scenario, before: Plan, after: Plan) -> list[str]:
    """Return a line with what a change makes servers load, and how long the last one takes; none for nothing.

    Shards load at the same time. ``scenario`` is that of the later plan.
    """
    loads = change_loads(scenario, before.placement, after.placement)
    if not loads:
        return []
    here, opened = (sum(item.count for item in loads if item.opened == new) for new in (False, True))
    parts = [f"{plural(here, 'load')} on shards that stand"] if here else []
    parts += [f"{plural(opened, 'model')} on new shards"] if opened else []
    last = max(loads, key=lambda item: item.apply_ns)
    return [f"changes  {', '.join(parts)}; {seconds_text(last.apply_ns)} on {last.shard}"]


def budget_text(plan: Plan) -> str:
    """Return what the solver was given: ``seed 0, work 100, 1 worker``."""
    budget = plan.budget
    limit = "" if budget.time_limit_ms is None else f", at most {budget.time_limit_ms / 1000:g} s"
    stopped = ", stopped by the clock" if plan.stopped_by_clock else ""
    return f"seed {plan.seed}, work {budget.work:,}, {plural(budget.workers, 'worker')}{limit}{stopped}"


def refusal_lines(refusals: Sequence[Refusal], *, most: int = _MOST_REFUSALS) -> list[str]:
    """Return a line for every reason, with the models that it keeps out; at most ``most`` of them."""
    groups = refusal_groups(refusals)
    lines = [group.sentence() for group in groups[:most]]
    rest = sum(group.replicas for group in groups[most:])
    if rest:
        lines.append(f"and {plural(rest, 'more replica')} for {plural(len(groups) - most, 'more reason')}")
    return lines
