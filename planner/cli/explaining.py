"""``explain`` and ``report``."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.documents import (
    check_output,
    document,
    print_document,
    print_names,
    read_verified,
    write_output,
)
from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, output_option, scenario_option, split_paths, talk_options

_EXPLAIN_EPILOG = """\b
Examples:
  shardpack explain plan.json -f scenario.yaml               # cost, bound, what binds, refusals
  shardpack explain plan.json sports-en -f scenario.yaml     # a model: why here, why not there
  shardpack explain plan.json news-1 -f scenario.yaml        # a shard: what is left, what binds
  shardpack explain plan.json news-1/0 -f scenario.yaml      # a device: its memory, line by line
  shardpack explain plan.json model/news -f scenario.yaml    # when a model and a shard share a name
  shardpack explain plan.json news-1 -f scenario.yaml -o wide   # every resident with all that it needs

Units: GPU memory, host memory and disk in bytes with binary suffixes (1Gi is 2^30 bytes), CPU in cores
and GPU time in devices (250m is a quarter), prices in USD an hour.
"""

_REPORT_EPILOG = """\b
Examples:
  shardpack report scenario.yaml plan.json --out report.html
  shardpack report scenario.yaml plan.json --out - > report.html
"""


@click.command(epilog=_EXPLAIN_EPILOG, short_help="Say why here, why not there and what binds.")
@click.argument("plan_path", metavar="PLAN")
@click.argument("subject", metavar="[MODEL|SHARD|DEVICE]", required=False)
@click.option(
    "-f",
    "--filename",
    "--scenario",
    "scenario_path",
    metavar="FILE",
    required=True,
    help='The scenario of the plan (YAML or JSON); "-" is stdin.',
)
@output_option(
    wide="every dimension and every alternative, uncut",
    name="the shards of a plan or model, the models of a shard or device (shard/NAME, model/NAME)",
)
@talk_options
def explain(*, plan_path: str, subject: str | None, scenario_path: str, form: str) -> Outcome:
    """Say why a plan is as it is: what is where and why, why not elsewhere, what binds.

    PLAN is a plan file. Without a subject the whole plan is explained. For a model every other open shard
    and a new shard of every type is tried, and the rules that forbid it are named with their numbers.
    """
    from planner.report.details import explanation_details
    from planner.report.explain import explain as explanation_of
    from planner.report.explain import find_subject
    from planner.report.prose import explanation_text
    from planner.report.subjects import explanation_names

    scenario, found = read_verified(scenario_path, plan_path)
    kind, name = find_subject(scenario, found, subject)
    explanation = explanation_of(scenario, found, kind=kind, name=name)
    match form:
        case "name":
            print_names(explanation_names(explanation, found))
        case "json" | "yaml":
            print_document({"kind": kind, **document(explanation)}, form)
        case "wide":
            parts = (
                explanation_text(explanation, wide=True),
                explanation_details(scenario, found, explanation),
            )
            click.echo("\n\n".join(part for part in parts if part))
        case _:
            click.echo(explanation_text(explanation))
    return Outcome.DONE


@click.command(epilog=_REPORT_EPILOG)
@click.argument("paths", metavar="[FILE] PLAN", nargs=-1)
@scenario_option
@click.option("--out", required=True, metavar="PATH", help='The HTML file to write; "-" is stdout.')
@talk_options
@click.pass_obj
def report(talk: Talk, *, paths: tuple[str, ...], filename: str | None, out: str) -> Outcome:
    """Write a plan as one self-contained HTML page.

    FILE is the scenario, PLAN a plan of it. The page needs no network: it shows the cost against the
    bound, every shard and device with what fills it, what was refused and why, and the three limits.
    """
    from planner.report.html import report_html

    scenario_path, plan_path = split_paths(paths, filename, wanted=("FILE", "PLAN"))
    if out != "-":
        check_output(Path(out), inputs=[scenario_path, plan_path])
    scenario, found = read_verified(scenario_path, plan_path)
    text = report_html(scenario, found)
    if out == "-":
        click.echo(text, nl=False)
        return Outcome.DONE
    write_output(Path(out), text)
    if not talk.quiet:
        click.echo(f"wrote {out}", err=True)
    return Outcome.DONE
