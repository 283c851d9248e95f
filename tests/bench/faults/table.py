"""The record of the faults as the table of the docs: ``python -m tests.bench.faults.table RECORD.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def cell(end: dict[str, Any]) -> str:
    """Return how a fault ended, as ``survives``, or what was wrong when the time was over."""
    return "survives" if end["survived"] else f"**fails**: {end['wrong']}"


def main(record: str) -> None:
    """Print the table."""
    rows = json.loads(Path(record).read_text(encoding="utf-8"))["faults"]
    lines = ["| fault | this agent | KServe's, as mirrored |", "| --- | --- | --- |"]
    lines += [f"| {row['fault']} | {cell(row['ours'])} | {cell(row['kserve'])} |" for row in rows]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
