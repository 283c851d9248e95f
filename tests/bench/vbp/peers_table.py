"""Bins of peers beside ours: ``python -m tests.bench.vbp.peers_table FOLDER RECORDS.json > table.md``.

Reads every ``vbp-*.json`` of a folder whose peers were all run, writes what says most of each as one sorted
list, and prints one row a suite and number of items.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.vbp.table import SUITE, compact

PEERS = ("first-fit-decreasing", "best-fit-decreasing", "plain-cp-sat")
COLUMNS = ("instances", "ours", "first fit decreasing", "best fit decreasing", "plain CP-SAT", "own bound")
HEAD = f"| items | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}"


def compact_with_peers(record: dict[str, Any]) -> dict[str, Any]:
    """Return what the record file keeps of a run: bins of every peer, None where it found no plan."""
    peers = {peer: record["peers"][peer]["cost"] for peer in PEERS}
    return {**compact(record), "peers": peers, "limit_s": record["peers"]["plain-cp-sat"]["limit_s"]}


def row(name: str, runs: Sequence[dict[str, Any]]) -> str:
    """Return the sums of runs as a row; a peer that found no plan somewhere has a dash."""
    found = [[run["peers"][peer] for run in runs] for peer in PEERS]
    sums = ["-" if None in bins else f"{sum(bins):,}" for bins in found]
    ours, bound = (f"{sum(run[column] for run in runs):,}" for column in ("bins", "bound"))
    return f"| {' | '.join([name, f'{len(runs):,}', ours, *sums, bound])} |"


def main(folder: str, records_file: str) -> None:
    """Write the records, print the table."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob("vbp-*.json")]
    asked = [record for record in records if record["peers"] and record["peers"]["plain-cp-sat"]]
    runs = sorted(map(compact_with_peers, asked), key=lambda run: (run["suite"], run["instance"]))
    lines = (json.dumps(run, sort_keys=True) for run in runs)
    Path(records_file).write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    strata: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        strata[run["suite"], int(run["instance"].split("_")[1])].append(run)
    rows = [row(f"{SUITE[suite]}, {items}", strata[suite, items]) for suite, items in sorted(strata)]
    sys.stdout.write("\n".join([HEAD, *rows, row("**all**", runs)]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
