"""Benchmark records as a table: ``python -m tests.bench.table FOLDER RECORDS.json > table.md``.

Reads every ``solve-*.json`` of a folder, writes them as one sorted list, and prints the table of the docs,
and one of means over the seeds.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.best import compared, name_of, read_known

COLUMNS = (
    "replicas",
    "cost USD/h",
    "bound USD/h",
    "gap",
    "over best known",
    "seconds",
    "best fit decreasing",
    "first fit decreasing",
)
HEAD = f"| fleet | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}"

MEAN_HEAD = (
    "| fleets of | seeds | mean gap | proved optimal | mean over best known | median seconds |\n| --- |"
    + " ---: |" * 5
)

LEAST_IN_ROWS = 1_000
"""Replicas of our own fleets from which on each has a row of its own."""


def row(record: dict[str, Any], known: dict[str, Any]) -> str:
    """Return a record as a row; peers as their cost over ours."""
    cost, bound = record["cost_microusd_per_h"], record["bound_microusd_per_h"]
    gap = record["gap_ratio"]
    cells = [
        name_of(record) or "-",
        f"{record['replicas']:,}" + (f" ({record['refused']} refused)" if record["refused"] else ""),
        f"{cost / 1e6:.3f}",
        "-" if bound is None else f"{bound / 1e6:.3f}",
        "-" if gap is None else f"{gap:.2%}",
        over_best(record, known),
        f"{record['seconds']:.1f}",
        *(over(record["peers"].get(peer), cost) for peer in ("best-fit-decreasing", "first-fit-decreasing")),
    ]
    return f"| {' | '.join(cells)} |"


def over_best(record: dict[str, Any], known: dict[str, Any]) -> str:
    """Return how many percent more a record costs than the best plan known; a dash where none is."""
    best = compared(record, known)
    if best is None or best["worse_percent"] is None:
        return "-"
    return f"{best['worse_percent']:+.2f}%"


def mean_rows(records: Sequence[dict[str, Any]], known: dict[str, Any]) -> list[str]:
    """Return a row for all seeds of each size and kind of our own fleets."""
    seeds: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if "correlated" in record:
            kind = "correlated" if record["correlated"] else "independent"
            seeds[record["replicas"], kind].append(record)
    return [
        mean_row(f"{replicas:,}, {kind}", same, known) for (replicas, kind), same in sorted(seeds.items())
    ]


def mean_row(name: str, records: Sequence[dict[str, Any]], known: dict[str, Any]) -> str:
    """Return records as a row of their means."""
    gaps = [record["gap_ratio"] for record in records]
    found = [compared(record, known) for record in records]
    worse = [best["worse_percent"] for best in found if best is not None]
    cells = [
        name,
        str(len(records)),
        f"{statistics.mean(gaps):.2%}",
        str(sum(gap == 0 for gap in gaps)),
        f"{statistics.mean(worse):+.2f}%" if len(worse) == len(records) else "-",
        f"{statistics.median(record['seconds'] for record in records):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def over(peer: dict[str, Any] | None, cost: int) -> str:
    """Return a peer's cost over ours, and its seconds; a dash where it was not run."""
    if peer is None:
        return "-"
    ratio = "-" if not cost else f"{peer['cost_microusd_per_h'] / cost - 1:+.1%}"
    return f"{ratio} in {peer['seconds']:.1f} s"


def main(folder: str, records_file: str) -> None:
    """Write the records, print the table."""
    known = read_known()
    records = [json.loads(path.read_text()) for path in Path(folder).glob("solve-*.json")]
    records.sort(key=lambda record: ("correlated" in record, record["replicas"], name_of(record)))
    Path(records_file).write_text(
        "[\n" + ",\n".join(json.dumps(item, sort_keys=True) for item in records) + "\n]\n"
    )
    large = [one for one in records if "correlated" not in one or one["replicas"] >= LEAST_IN_ROWS]
    lines = [HEAD, *(row(record, known) for record in large), "", MEAN_HEAD, *mean_rows(records, known)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
