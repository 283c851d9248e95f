"""What a rehearsal saw, for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from planner.report.rehearsal import Rehearsal, RehearsedChange, RehearsedDevice, RehearsedShard
from planner.report.text import table
from planner.report.words import plural
from planner.units import format_bytes

_MOST_LINES = 20


def rehearsal_text(rehearsal: Rehearsal, *, wide: bool = False) -> str:
    """Return a line a shard, what went otherwise than planned, the change and a verdict.

    ``wide`` adds what the agents did, and a line a GPU.
    """
    parts = [table(shard_headers(wide=wide), shard_rows(rehearsal.shards, wide=wide), right=(2, 3))]
    if wide and rehearsal.devices:
        parts.append(devices_table(rehearsal.devices))
    found = [*trouble_lines(rehearsal.shards)]
    if found:
        parts.append("\n".join(found))
    if rehearsal.change is not None:
        parts.append("\n".join(change_lines(rehearsal.change, rehearsal.before)))
    parts.append("\n".join(summary_lines(rehearsal)))
    return "\n\n".join(parts)


def shard_headers(*, wide: bool) -> list[str]:
    """Return the columns of ``shard_rows``."""
    headers = ["shard", "type", "loaded", "ready", "GPU memory", "against plan", "peak"]
    return headers + (["loads", "unloads", "failed", "no room"] if wide else [])


def shard_rows(shards: Iterable[RehearsedShard], *, wide: bool) -> list[list[str]]:
    """Return a row a shard; ``wide`` adds what its agent did."""
    return [_row(shard, wide=wide) for shard in shards]


def _row(shard: RehearsedShard, *, wide: bool) -> list[str]:
    count = len(shard.models)
    devices = shard.devices
    peaks = [device.peak_bytes for device in devices if device.peak_bytes is not None]
    row = [
        shard.shard,
        shard.shard_type,
        f"{count - len(shard.missing):,}/{count:,}",
        "-" if shard.ready_s is None else f"{shard.ready_s:.1f} s",
        format_bytes(sum(device.measured_bytes for device in devices)) if devices else "-",
        _against_plan(devices),
        format_bytes(sum(peaks)) if peaks else "-",
    ]
    if wide:
        row += [f"{n:,}" for n in (shard.loads, shard.unloads, shard.failed_loads, shard.no_room)]
    return row


def _against_plan(devices: Sequence[RehearsedDevice]) -> str:
    if not devices:
        return "-"
    if all(device.difference_bytes == 0 for device in devices):
        kept = sum(device.kept_bytes for device in devices)
        return f"exact, {format_bytes(kept)} kept" if kept else "exact"
    return _signed(sum(device.difference_bytes for device in devices))


def _signed(value_bytes: int) -> str:
    return f"{'+' if value_bytes > 0 else ''}{format_bytes(value_bytes)}"


def devices_table(devices: Iterable[RehearsedDevice]) -> str:
    """Return a line a GPU: bytes as planned and as NVML says, what a running server keeps, the load peak."""
    rows = [
        [
            device.device,
            f"{device.planned_bytes:,}",
            f"{device.kept_bytes:,}",
            f"{device.measured_bytes:,}",
            f"{device.difference_bytes:+,}",
            "-" if device.planned_peak_bytes is None else f"{device.planned_peak_bytes:,}",
            "-" if device.peak_bytes is None else f"{device.peak_bytes:,}",
        ]
        for device in devices
    ]
    headers = ("GPU", "planned", "kept", "by NVML", "difference", "planned peak", "peak")
    return table(headers, rows, right=range(1, 7))


def trouble_lines(shards: Iterable[RehearsedShard]) -> Iterator[str]:
    """Yield a line for everything that is not as planned, the first of them."""
    lines = [line for shard in shards for line in _shard_trouble(shard)]
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield f"and {len(lines) - _MOST_LINES:,} more (-o json lists them)"


def _shard_trouble(shard: RehearsedShard) -> Iterator[str]:
    if shard.fault is not None:
        yield f"{shard.shard}: {shard.fault}"
    for model in shard.missing:
        why = ": ".join(item for item in (model.reason, model.message) if item)
        yield f"{shard.shard}/{model.model}: {model.state}{f' ({why})' if why else ''}"
    for model in shard.models:
        if model.correct is False:
            yield f"{shard.shard}/{model.model}: loaded, and does not answer as it should"
    for device in shard.devices:
        if device.difference_bytes:
            planned, found = device.planned_bytes + device.kept_bytes, device.measured_bytes
            yield (
                f"{device.device}: {format_bytes(planned)} expected, NVML says {format_bytes(found)}"
                f" ({device.difference_bytes:+,} bytes)"
            )


def change_lines(change: RehearsedChange, before: Iterable[RehearsedShard]) -> list[str]:
    """Return how the plan that was in force became the other one."""
    asked = [
        (change.stayed, "stay"),
        (change.moved, "change devices in place"),
        (change.reloaded, "loaded anew in place"),
        (change.came, "come"),
        (change.left, "leave"),
    ]
    replicas = ", ".join(f"{count:,} {what}" for count, what in asked if count)
    lines = [f"replicas   {replicas or 'none'}"]
    for title, shards in (("opened", change.opened), ("closed", change.closed)):
        if shards:
            lines.append(f"{title:<11}{', '.join(shards[:_MOST_LINES])}")
    answered = change.asked - len(change.unanswered)
    lines += [
        f"took       {change.seconds:.1f} s",
        f"away       {plural(len(change.absences), 'model')} that should stay, in {change.looks:,} looks",
        *(
            f"  {item.shard}/{item.model}: at {plural(item.looks, 'look')} in a row"
            for item in change.absences[:_MOST_LINES]
        ),
        f"requests   {answered:,} of {change.asked:,} to models that should stay were answered",
        *(f"  {text}" for text in change.unanswered[:_MOST_LINES]),
    ]
    faulty = [shard.shard for shard in before if not shard.as_planned]
    if faulty:
        lines.append(f"before     not as planned already: {', '.join(faulty[:_MOST_LINES])}")
    return lines


def summary_lines(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield what was loaded, answered and weighed, what was left out, and a verdict."""
    loaded = sum(model.loaded for model in rehearsal.models)
    answers = [model.correct for model in rehearsal.models if model.correct is not None]
    exact = sum(device.difference_bytes == 0 for device in rehearsal.devices)
    asked = f"{sum(answers):,} of {len(answers):,} answered"
    yield f"models     {loaded:,} of {len(rehearsal.models):,} loaded, {asked}"
    if rehearsal.devices:
        yield f"memory     {exact:,} of {plural(len(rehearsal.devices), 'GPU')} to the byte"
    if rehearsal.skipped:
        names = ", ".join(f"{shard} ({runtime})" for shard, runtime in rehearsal.skipped[:3])
        more = len(rehearsal.skipped) - 3
        names += f" and {more:,} more" if more > 0 else ""
        yield f"skipped    {names}: only Triton can be started here"
    if rehearsal.left_out:
        yield f"left out   {plural(rehearsal.left_out, 'shard')} that were not asked for"
    yield "verdict    as planned" if rehearsal.as_planned else "verdict    not as planned"


def rehearsal_names(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield what is not as planned: shards and models."""
    for shard in rehearsal.shards:
        if not shard.as_planned:
            yield f"shard/{shard.shard}"
        yield from (
            f"model/{item.model}" for item in shard.models if not item.loaded or item.correct is False
        )
    if rehearsal.change is not None:
        yield from (f"model/{item.model}" for item in rehearsal.change.absences)
