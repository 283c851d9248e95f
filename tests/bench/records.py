"""Benchmark records: one JSON object a run, in a folder or on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def commit() -> str | None:
    """Return the commit that is measured; None outside a checkout."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def keep(record: dict[str, Any], name: str) -> None:
    """Write a record to ``$SHARDPACK_BENCH_OUT/<name>.json``, or print it."""
    text = json.dumps(record, sort_keys=True) + "\n"
    folder = os.environ.get("SHARDPACK_BENCH_OUT")
    if folder is None:
        sys.stdout.write(text)
    else:
        (Path(folder) / f"{name}.json").write_text(text)
