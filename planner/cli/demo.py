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

It needs the Triton server and the libraries of the models (make demo installs both), no GPU and no
cluster, and stops everything that it started.
"""


@click.command(epilog=_EPILOG, short_help="Show the whole way on real servers.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("demo-report.html"),
    show_default=True,
    help="The HTML report to write.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="A new folder that keeps scenario, plan, manifests and logs.  [default: a temporary one]",
)
@talk_options
def demo(*, out: Path, keep: Path | None) -> Outcome:
    """Plan, start real Triton servers and agents, ask every model, and write a report.

    Some 30 small models are trained and served from CPU shards, some 40 tiny ones from shards with
    simulated GPUs; then a shard runs full, a server is killed, and both are seen to be dealt with.
    """
    from planner.rehearsal.demo import DemoOptions, run_demo

    result = run_demo(DemoOptions(report=out, folder=keep, say=click.echo))
    return Outcome.DONE if result.succeeded else Outcome.INTERNAL
