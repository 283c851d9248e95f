"""What is best known of our own instances: ``best_known.json``, with version, commit and date of each figure.

Every record says how far it is from it. The file changes only where ``--refresh-best-known`` is given, and
only for the better. Instances that others publish figures of (vector bin packing) are compared with those.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from planner import __version__

BEST_KNOWN = Path(__file__).parent / "best_known.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a run came to.

    Parameters
    ----------
    unit
        Of the value: less is better, but for ``percent``.
    refused
        Replicas that were not placed: fewer are better, whatever the value.
    value
        Cost, moves, or GPUs allocated.
    bound
        No plan is better than this; None is not known.
    """

    unit: str
    refused: int
    value: float
    bound: float | None

    @property
    def rank(self) -> tuple[int, float]:
        """Return what is smaller for the better figure."""
        return self.refused, -self.value if self.unit == "percent" else self.value


def name_of(record: Mapping[str, Any]) -> str | None:
    """Return what the instance of a record is called; None if it is none of our own, or measures no plan."""
    instance = record.get("instance")
    name = None
    match record:
        case {"suite": "openb", "track": "moves", "start": start}:
            name = f"openb moves from {start}, {instance}"
        case {"suite": "openb", "track": track}:
            name = f"openb {track}, {instance}"
        case {"instance": "few-moves", "seed": seed}:
            name = f"few-moves, seed {seed}"
        case {"over_before": _, "seed": seed}:
            name = f"overload {instance}, seed {seed}"
        case {"correlated": correlated}:
            name = f"{instance}, {'correlated' if correlated else 'independent'}"
        case {"peers": _, "refused": _}:
            name = f"shipped: {instance}"
    return name


def figure_of(record: Mapping[str, Any]) -> Figure:
    """Return the figure of a record of an instance of our own."""
    match record:
        case {"suite": "openb", "mean_percent": {"ours": percent}}:
            return Figure(unit="percent", refused=0, value=percent, bound=None)
        case {"suite": "openb", "mean_percent": dict(percents)}:
            return Figure(unit="percent", refused=0, value=max(percents.values()), bound=None)
        case {"suite": "openb", "mean_percent": percent}:
            return Figure(unit="percent", refused=0, value=percent, bound=None)
        case {"instance": "few-moves"}:
            # What one round leaves is where the next begins, so its bounds hold for this run alone.
            return Figure(unit="moves", refused=0, value=record["moves"], bound=None)
        case {"over_before": _}:
            return Figure(unit="moves", refused=0, value=record["plan"]["moves"], bound=record["at_least"])
    cost, bound = record["cost_microusd_per_h"], record["bound_microusd_per_h"]
    return Figure(unit="microusd-per-h", refused=record["refused"], value=cost, bound=bound)


def compared(record: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the best figure known of a record's instance, and by how many percent the record is worse.

    Of plans that refuse more or fewer replicas the percentage is None: they do not compare.
    """
    name = name_of(record)
    if name is None or name not in known:
        return None
    best, own = known[name], figure_of(record)
    worse = None
    if own.refused == best["refused"] and best["value"]:
        worse = round(100 * abs(own.value / best["value"] - 1), 3)
        worse = -worse if own.rank < (best["refused"], _figure(best).rank[1]) else worse
    return {"value": best["value"], "bound": best["bound"], "commit": best["commit"], "worse_percent": worse}


def refreshed(
    known: Mapping[str, Any], record: Mapping[str, Any], *, commit: str | None, today: str
) -> dict[str, Any]:
    """Return what is best known after a record: its value, its bound, both or neither is taken over.

    Raises
    ------
    ValueError
        The better of the values is below the better of the bounds: one of the two is wrong.
    """
    name = name_of(record)
    if name is None:
        return dict(known)
    own = figure_of(record)
    source = {"version": __version__, "commit": commit, "date": today}
    old = known.get(name)
    best = {**asdict(own), **source} if old is None or own.rank < _figure(old).rank else dict(old)
    bounds = [old["bound"] if old and old["refused"] == best["refused"] else None]
    bounds.append(own.bound if own.refused == best["refused"] else None)
    best["bound"] = max((bound for bound in bounds if bound is not None), default=None)
    if best["bound"] is not None and best["bound"] > best["value"]:
        raise ValueError(f"{name}: the best value {best['value']} is below the best bound {best['bound']}")
    return {**known, name: best}


def _figure(entry: Mapping[str, Any]) -> Figure:
    return Figure(unit=entry["unit"], refused=entry["refused"], value=entry["value"], bound=entry["bound"])


# --------------------------------------------------------------------------------------------------- the file


def read_known(path: Path = BEST_KNOWN) -> dict[str, Any]:
    """Return what is best known of each instance."""
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return known


def refresh(record: Mapping[str, Any], *, commit: str | None, path: Path = BEST_KNOWN) -> None:
    """Write what a record has that is better than all before into the file; else it stays as it is."""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    known = read_known(path)
    better = refreshed(known, record, commit=commit, today=today)
    if better != known:
        path.write_text(text_of(better), encoding="utf-8")


def text_of(known: Mapping[str, Any]) -> str:
    """Return the file's text: one instance a line, sorted."""
    lines = (f"{json.dumps(name)}: {json.dumps(known[name], sort_keys=True)}" for name in sorted(known))
    return "{\n" + ",\n".join(lines) + "\n}\n"
