"""Gap over seconds as a picture: ``python -m tests.bench.curves RECORDS.json PICTURE.svg``.

Draws the correlated fleets of seed 0, one line a size, from when the first plan is known.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "shardpack"  # equal records give equal bytes

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of a backend


def points(record: dict[str, Any]) -> list[tuple[float, float]]:
    """Return seconds and gap in percent, to the bound that the plan has in the end."""
    bound = record["bound_microusd_per_h"]
    told = [(at, 100 * (cost / bound - 1)) for at, cost, _ in record["seconds_cost_bound"] if cost]
    return [*told, (record["seconds"], 100 * record["gap_ratio"])]


def main(records_file: str, picture: str) -> None:
    """Draw the picture."""
    records = json.loads(Path(records_file).read_text())
    chosen = [one for one in records if one.get("correlated") and one["seed"] == 0]
    figure, axes = plt.subplots(figsize=(7, 4))
    for record in sorted(chosen, key=lambda one: int(one["replicas"])):
        seconds, gaps = zip(*points(record), strict=True)
        axes.step(seconds, gaps, where="post", label=f"{record['replicas']:,} replicas")
        axes.plot(seconds[-1], gaps[-1], marker="o", color=axes.lines[-1].get_color())
    axes.set(xscale="log", xlabel="seconds", ylabel="gap to the bound, %", ylim=(0, None))
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
