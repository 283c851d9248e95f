"""Vector bin packing records as a table: ``python -m tests.bench.vbp.table FOLDER RECORDS.json > table.md``.

Reads every ``vbp-*.json`` of a folder, writes what says most of each as one sorted list, and prints the table
of the docs: one row a suite, class and number of items, then sums.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    "instances",
    "bins",
    "best of 275",
    "own bound",
    "table's bound",
    "optima known",
    "reached",
    "proved",
    "CPU s mean",
    "max",
)
HEAD = f"| class, items | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}"
SUITE = {"new_class1-3": "New", "panigrahy_class1-5": "Panigrahy"}


def compact(record: dict[str, Any]) -> dict[str, Any]:
    """Return what the record file keeps of a run."""
    published = record["published"]
    return {
        "suite": record["suite"],
        "instance": record["instance"],
        "items": record["items"],
        "bins": record["cost"],
        "bound": record["bound"],
        "proved": record["cost"] == record["bound"],
        "best_of_275": published["best_of_275"],
        "table_bound": published["bound"],
        "optimum": published["optimum"],
        "cpu_seconds": record["cpu_seconds"],
        "commit": record["commit"],
    }


def row(name: str, runs: Sequence[dict[str, Any]]) -> str:
    """Return runs summed up as a row."""
    known = [run for run in runs if run["optimum"] is not None]
    seconds = [run["cpu_seconds"] for run in runs]
    sums = [sum(run[column] for run in runs) for column in ("bins", "best_of_275", "bound", "table_bound")]
    cells = [
        name,
        *(f"{number:,}" for number in (len(runs), *sums, len(known))),
        f"{sum(run['bins'] == run['optimum'] for run in known):,}",
        f"{sum(run['bound'] == run['optimum'] for run in known):,}",
        f"{sum(seconds) / len(seconds):.1f}",
        f"{max(seconds):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def rows(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return a row for each class and size, and one for each suite."""
    strata: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    suites: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        strata[run["suite"], run["instance"].split("_")[0], run["items"] // 10 * 10].append(run)
        suites[run["suite"]].append(run)
    found = [
        row(f"{SUITE[suite]} {of_class.removeprefix('class')}, {items}", strata[suite, of_class, items])
        for suite, of_class, items in sorted(strata)
    ]
    return found + [row(f"**{SUITE[suite]}, all**", suites[suite]) for suite in sorted(suites)]


def main(folder: str, records_file: str) -> None:
    """Write the records, print the table."""
    runs = [compact(json.loads(path.read_text())) for path in Path(folder).glob("vbp-*.json")]
    runs.sort(key=lambda run: (run["suite"], run["instance"].split("_")[0], run["items"], run["instance"]))
    lines = (json.dumps(run, sort_keys=True) for run in runs)
    Path(records_file).write_text("[\n" + ",\n".join(lines) + "\n]\n")
    sys.stdout.write("\n".join([HEAD, *rows(runs)]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
