"""How an object would change, as a unified difference of YAML."""

from __future__ import annotations

import difflib
from typing import Any

from planner.manifests.text import yaml_text


def difference_text(before: dict[str, Any] | None, after: dict[str, Any] | None, *, name: str) -> str:
    """Return what would change about an object; empty if nothing would.

    Parameters
    ----------
    before, after
        It now and then; None where it is not there.
    name
        What it is called in the lines that begin the difference.
    """
    lines = difflib.unified_diff(
        _lines(before),
        _lines(after),
        fromfile=f"live/{name}" if before is not None else "/dev/null",
        tofile=f"plan/{name}" if after is not None else "/dev/null",
    )
    return "".join(lines)


def _lines(item: dict[str, Any] | None) -> list[str]:
    return [] if item is None else _readable(yaml_text([item])).splitlines(keepends=True)


def _readable(text: str) -> str:
    return text.removeprefix("---\n")
