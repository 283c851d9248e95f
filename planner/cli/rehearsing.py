"""``rehearse``: a plan on real servers with simulated GPUs, before it is carried out for real."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.documents import (
    check_output,
    document,
    print_document,
    print_names,
    read_plan,
    read_scenario,
    read_verified,
    write_output,
)
from planner.cli.exitcodes import Outcome
from planner.cli.options import (
    Quantity,
    Seconds,
    Talk,
    output_option,
    scenario_option,
    split_paths,
    talk_options,
)
from planner.errors import Fault, InputError

if TYPE_CHECKING:
    from planner.domain.plan import Plan
    from planner.domain.scenario import Scenario
    from planner.report.rehearsal import Rehearsal

_EPILOG = """\b
Examples:
  shardpack rehearse scenario.yaml plan.json
  shardpack rehearse scenario.yaml next.json --from plan.json   # change what is in force, under requests
  shardpack rehearse scenario.yaml plan.json --sample 4 --report rehearsal.html
  shardpack rehearse scenario.yaml plan.json --only news,news-1 --foreign 1Gi -o wide

Servers, agents, manifests and requests are real. GPUs are simulated, and every model is stood in for by one
that takes the memory that the plan reckons with. It needs Linux, gcc and Triton's wheel (make demo installs
it), no GPU and no cluster, and stops everything that it started.

Columns: READY is from a shard's start, or from its new documents, until its agent had nothing left to do;
GPU MEMORY and AGAINST PLAN are NVML's figure and its difference to the plan's account; PEAK is the most
that was in use while models loaded.

Exit codes: 0 all is as planned, 4 something is not, 2 bad input or something that it needs is missing.
"""


@click.command(epilog=_EPILOG, short_help="Carry a plan out on this machine first.")
@click.argument("paths", metavar="[FILE] PLAN", nargs=-1)
@scenario_option
@click.option(
    "--from",
    "base_path",
    metavar="PLAN",
    help="The plan that is in force: it is carried out first, and then changed into the other.",
)
@click.option(
    "--from-scenario",
    "base_scenario_path",
    metavar="FILE",
    help="The scenario of the plan in force.  [default: FILE]",
)
@click.option(
    "--only", metavar="SHARD,...", default="", help="Rehearse these shards only; shard/NAME is taken as well."
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    help="Rehearse so many shards: those that change first, the fullest first, each shard type in turn.",
)
@click.option(
    "--foreign",
    "foreign_bytes",
    type=Quantity(),
    default="0",
    help="GPU memory that others hold of every device beside what the scenario says, as 512Mi.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(min=1),
    default=300.0,
    show_default=True,
    help="Seconds that a shard may take until its agent has nothing left to do.",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the plan's HTML report with what was seen to this file.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder that keeps manifests, documents and logs.  [default: a temporary one]",
)
@output_option(
    wide="what the agents did and a line a GPU", name="what is not as planned (shard/NAME, model/NAME)"
)
@talk_options
@click.pass_obj
def rehearse(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    paths: tuple[str, ...],
    filename: str | None,
    base_path: str | None,
    base_scenario_path: str | None,
    only: str,
    sample: int | None,
    foreign_bytes: int,
    timeout_s: float,
    report_path: Path | None,
    keep: Path | None,
    form: str,
) -> Outcome:
    """Carry a plan out on this machine: a real Triton server and agent a shard, simulated GPUs.

    FILE is the scenario, PLAN a plan of it. It is seen whether every model is loaded, and whether every GPU
    then holds the bytes that the plan said; with --from also what the change does to models that should stay.
    """
    from planner.rehearsal.rehearse import RehearseOptions
    from planner.rehearsal.rehearse import rehearse as carry_out
    from planner.rehearsal.selection import most_shards
    from planner.rehearsal.stage import available_bytes

    scenario_path, plan_path = split_paths(paths, filename, wanted=("FILE", "PLAN"))
    if base_scenario_path is not None and base_path is None:
        raise click.UsageError("--from-scenario is the scenario of the plan in force: name that with --from.")
    if report_path is not None:
        check_output(report_path, inputs=[scenario_path, plan_path])
    scenario, plan = read_verified(scenario_path, plan_path)
    before = None if base_path is None else _in_force(scenario, base_path, base_scenario_path)
    options = RehearseOptions(
        only=tuple(name.strip().removeprefix("shard/") for name in only.split(",") if name.strip()),
        sample=sample,
        most=most_shards(available_bytes()),
        foreign_bytes=foreign_bytes,
        timeout_s=timeout_s,
        folder=keep,
        say=(lambda _line: None) if talk.quiet else (lambda line: click.echo(line, err=True)),
    )
    seen = carry_out(scenario, plan, before=before, options=options)
    if report_path is not None:
        _write_report(report_path, scenario, plan, seen, talk=talk)
    _show(seen, form)
    return Outcome.DONE if seen.as_planned else Outcome.NOT_VERIFIED


def _in_force(scenario: Scenario, path: str, scenario_path: str | None) -> tuple[Scenario, Plan]:
    """Return the plan in force with its scenario; it need not be legal, but its names must mean something."""
    from planner.domain.references import find_broken_references
    from planner.domain.scenario import names

    own = scenario if scenario_path is None else read_scenario(scenario_path)
    plan = read_plan(path)
    broken = next(find_broken_references(names(own), plan.placement), None)
    if broken is not None:
        message = f"{broken.subject}: {broken.detail}; name the scenario of this plan with --from-scenario"
        raise InputError([Fault(path="", file=path, message=message)])
    return own, plan


def _write_report(path: Path, scenario: Scenario, plan: Plan, seen: Rehearsal, *, talk: Talk) -> None:
    from planner.report.html import report_html

    write_output(path, report_html(scenario, plan, rehearsal=seen))
    if not talk.quiet:
        click.echo(f"wrote {path}", err=True)


def _show(seen: Rehearsal, form: str) -> None:
    from planner.report.rehearsing import rehearsal_names, rehearsal_text

    match form:
        case "name":
            print_names(rehearsal_names(seen))
        case "json" | "yaml":
            print_document({"asPlanned": seen.as_planned, **document(seen)}, form)
        case _:
            click.echo(rehearsal_text(seen, wide=form == "wide"))
