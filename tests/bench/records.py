"""Benchmark records: one JSON object a run, in a folder or on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.best import compared, name_of, read_known, refresh

REFRESH = "SHARDPACK_BENCH_REFRESH"
"""Set while ``--refresh-best-known`` is given."""


def commit() -> str | None:
    """Return the commit that is measured; None outside a checkout."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def keep(record: dict[str, Any], name: str) -> None:
    """Write a record to ``$SHARDPACK_BENCH_OUT/<name>.json``, or print it, beside what is best known."""
    if name_of(record) is not None:
        record = {**record, "best_known": compared(record, read_known())}
        if os.environ.get(REFRESH):
            refresh(record, commit=commit())
    text = json.dumps(record, sort_keys=True) + "\n"
    folder = os.environ.get("SHARDPACK_BENCH_OUT")
    if folder is None:
        sys.stdout.write(text)
    else:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.json").write_text(text, encoding="utf-8")
