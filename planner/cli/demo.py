"""``demo``: the whole way on this machine, with real model servers."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.exitcodes import Outcome
from planner.cli.options import talk_options

_EPILOG = """\b
Examples:
  make demo                                  # sets up what it needs, then runs the demo
  shardpack demo --out demo-report.html

\b
It needs the Triton server and the libraries of the models (make demo installs both), no GPU and no
cluster, and stops everything that it started.
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("demo-report.html"),
    show_default=True,
    help="The HTML report to write.",
)
@talk_options
def demo(*, out: Path) -> Outcome:
    """Plan, start real Triton servers and agents, ask every model, and write a report.

    Some 30 small models are trained and served from CPU shards, some 40 tiny ones from shards with
    simulated GPUs; then a shard runs full, a server is killed, and both are seen to be dealt with.
    """
    from planner.rehearsal.demo import run_demo

    run_demo(out)
    return Outcome.DONE
