"""What still fits into the open shards, in words."""

from __future__ import annotations

from collections.abc import Iterator

from planner.online.room import Room
from planner.report.words import percent, plural
from planner.units import format_bytes


def room_lines(room: Room) -> Iterator[str]:
    """Yield the largest model that fits now, how many median models do, and what pieces cost."""
    if room.median_model is None:
        return
    yield "What still fits, as it stands:"
    if room.largest_bytes is not None:
        yield (
            f"  {format_bytes(room.largest_bytes)} of GPU memory for one model, on {room.largest_at}; "
            f"{format_bytes(room.free_bytes)} are free in all"
        )
    if room.whole_devices:
        yield f"  {plural(room.whole_devices, 'whole GPU')} of one shard, {room.whole_at}"
    if room.largest_model is None:
        yield "  no model of the scenario once more"
        return
    yield f"  {room.largest_model} is the largest model of the scenario that fits once more"
    pieces = "" if not room.lost_ppm else f"; in one piece it would be {room.median_in_one_piece:,}"
    lost = "" if not room.lost_ppm else f" ({percent(room.lost_ppm)} lost to fragmentation)"
    yield f"  {plural(room.median_fits, 'more model')} like {room.median_model}, the median{pieces}{lost}"
