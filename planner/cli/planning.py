"""``plan``, ``verify`` and ``diff``."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.budget import budget_options, solve_options
from planner.cli.documents import (
    another_scenario_text,
    check_output,
    document,
    is_of_another_scenario,
    print_document,
    print_names,
    read_plan,
    read_plan_document,
    read_scenario,
    write_output,
)
from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, output_option, scenario_option, split_paths, talk_options
from planner.cli.progress import shown_progress
from planner.domain.rules import Rule, Violation
from planner.errors import VerificationError
from planner.report.text import change_lines, plan_summary, plan_table, refusal_lines, service_table
from planner.report.words import plural, violation_sentence

if TYPE_CHECKING:
    from planner.domain.plan import Plan
    from planner.domain.scenario import Scenario
    from planner.solve.options import SolveOptions

_PLAN_EPILOG = """\b
Examples:
  shardpack plan scenario.yaml
  shardpack plan scenario.yaml --out plan.json
  shardpack plan scenario.yaml --work 1000 --time-limit 60 --out plan.json
  shardpack plan scenario.yaml --from plan.json --out plan.json --detailed-exitcode
  shardpack plan scenario.yaml --from plan.json --max-moves 20
  generate-scenario | shardpack plan - -o json
  shardpack plan scenario.yaml -o name         # the shards, as shard/news-1

Columns: GPU MEMORY is used/capacity of all GPUs of the shard, with what the driver, the server and its
backends take, headroom off; FULL is the fullest resource (-o wide names it under BINDS); USD/H is the
price of the shard for an hour. "loads" is what the server of the shard that takes longest needs for its
models, all at its start or through its API; downloads and the models' own time come on top.

Exit codes: 0 every model is placed, 3 some are refused (the plan is written all the same), 2 bad
input (nothing is written). With --detailed-exitcode: 0 nothing to do, 2 changes, 1 anything else.
"""

_VERIFY_EPILOG = """\b
Examples:
  shardpack verify scenario.yaml plan.json
  shardpack verify scenario.yaml plan.json -o wide      # every rule, and what it was checked on
  shardpack verify scenario.yaml plan.json -o name      # what breaks a rule, as model/sports-en

Exit codes: 0 the plan is legal and its figures are true, 4 it breaks a rule, 2 bad input.
"""

_DIFF_EPILOG = """\b
Examples:
  shardpack diff before.json after.json
  shardpack diff before.json after.json -o wide
  shardpack diff before.json after.json -o name | grep ^model/
  shardpack diff before.json after.json -f scenario.yaml      # and how long the loads take

Exit codes: 0 they place and refuse alike, 1 they differ, above 1 an error.
"""


# ------------------------------------------------------------------------------------------------- plan


@click.command(epilog=_PLAN_EPILOG, short_help="Find which shards to open and where replicas go.")
@click.argument("paths", metavar="[FILE]", nargs=-1)
@scenario_option
@output_option(
    wide="what binds, CPU, memory, disk and GPU time of every shard", name="the shards (shard/NAME)"
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan to this file.")
@click.option(
    "--from",
    "base_path",
    metavar="PLAN",
    help="The plan that is in force: prefer to change little of it, and compare with it.",
)
@click.option(
    "--max-moves",
    type=click.IntRange(0, 2**63 - 1),
    help="Replicas of the plan in force that may move (with --from): the least cost by so many moves. "
    "More are made only to repair what breaks a rule now.",
)
@budget_options(
    work="Budget in units of deterministic work: equal work gives an equal plan on every machine; "
    "the default follows the size of the scenario.",
    time_limit="Safety stop by the clock: the best plan so far is returned. It voids the promise of equal "
    "bytes.",
)
@click.option(
    "--detailed-exitcode",
    is_flag=True,
    help="Exit with 0 if nothing has to change, 2 if something has (against --from; without it, "
    "against an empty cluster), 1 on any error or refusal.",
)
@talk_options
@click.pass_obj
def plan(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    paths: tuple[str, ...],
    filename: str | None,
    form: str,
    out: Path | None,
    base_path: str | None,
    max_moves: int | None,
    seed: int,
    work: int | None,
    time_limit_s: float | None,
    workers: int,
    detailed_exitcode: bool,
) -> Outcome:
    """Plan a scenario: which shards to open and where every replica goes.

    FILE is the scenario (YAML or JSON; "-" is stdin). The plan is verified before anything is shown or
    written, and written whole or not at all.
    """
    del detailed_exitcode  # read by ``exitcodes``, which has to know it even if the command line has errors
    (path,) = split_paths(paths, filename, wanted=("FILE",))
    if out is not None:
        check_output(out, inputs=[path])
    scenario = read_scenario(path)
    if max_moves is not None and base_path is None:
        raise click.UsageError("--max-moves counts moves of the plan in force: name it with --from.")
    base = read_plan(base_path) if base_path is not None else None
    options = solve_options(seed, work, time_limit_s=time_limit_s, workers=workers)
    options = dataclasses.replace(options, max_moves=max_moves)
    found = _make_plan(scenario, options, base=base, talk=talk)
    if out is not None:
        _write_plan(out, found, scenario, talk=talk)
    _print_plan(scenario, found, form, base=base)
    if found.refusals and not talk.quiet:
        click.echo(_relax_hint(path, out), err=True)
    if found.refusals:
        return Outcome.REFUSED
    return Outcome.CHANGED if _has_changes(base, found) else Outcome.DONE


def _make_plan(scenario: Scenario, options: SolveOptions, *, base: Plan | None, talk: Talk) -> Plan:
    """Search with progress on stderr; ``make_plan`` returns nothing that does not verify."""
    from planner.solve.portfolio import make_plan

    stream = sys.stderr or io.StringIO()  # None where the shell closed it
    with shown_progress(stream, quiet=talk.quiet) as progress:
        return make_plan(scenario, options, base=base, progress=progress)


def _relax_hint(path: str, out: Path | None) -> str:
    files = " ".join(str(item) for item in (path, out) if item is not None)
    return f"shardpack relax {files} finds the least change that would place what is refused"


def _write_plan(out: Path, found: Plan, scenario: Scenario, *, talk: Talk) -> None:
    from planner.scenario.plan_file import plan_pieces

    write_output(out, plan_pieces(found, scenario))
    if not talk.quiet:
        click.echo(f"wrote {out}", err=True)


def _print_plan(scenario: Scenario, found: Plan, form: str, *, base: Plan | None) -> None:
    match form:
        case "name":
            print_names(f"shard/{shard.name}" for shard in found.placement.shards)
        case "json":
            from planner.scenario.plan_file import plan_pieces

            for piece in plan_pieces(found, scenario):
                click.echo(piece, nl=False)
        case "yaml":
            from planner.scenario.plan_file import plan_document

            print_document(plan_document(found, scenario), form)
        case _:
            _print_tables(scenario, found, base=base, wide=form == "wide")


def _print_tables(scenario: Scenario, found: Plan, *, base: Plan | None, wide: bool) -> None:
    if found.placement.shards:
        click.echo(plan_table(scenario, found, wide=wide))
        click.echo()
    if found.services:
        click.echo(service_table(scenario, found))
        click.echo()
    click.echo(plan_summary(scenario, found, base=base))
    if found.refusals:
        click.echo()
        click.echo("\n".join(refusal_lines(found.refusals)))


def _has_changes(base: Plan | None, found: Plan) -> bool:
    from planner.domain.difference import diff_plans

    if base is None:
        return bool(found.placement.shards)
    return not diff_plans(base, found).is_empty


# ----------------------------------------------------------------------------------------------- verify


@click.command(epilog=_VERIFY_EPILOG, short_help="Check a plan against its scenario.")
@click.argument("paths", metavar="[FILE] PLAN", nargs=-1)
@scenario_option
@output_option(
    wide="every rule with what it was checked on",
    name="what breaks a rule (model/NAME, shard/NAME, device/SHARD/0...)",
)
@talk_options
def verify(*, paths: tuple[str, ...], filename: str | None, form: str) -> Outcome:
    """Check a plan against its scenario, rule by rule, without the solver's help.

    FILE is the scenario, PLAN a plan file. Every violation of every rule is listed, and every figure in
    the file (cost, gap, what devices use) is reckoned anew.
    """
    from planner.domain.verify import verify as find_violations
    from planner.scenario.plan_file import check_figures

    scenario_path, plan_path = split_paths(paths, filename, wanted=("FILE", "PLAN"))
    scenario = read_scenario(scenario_path)
    found, figures = read_plan_document(plan_path)
    broken = (*find_violations(scenario, found), *check_figures(figures, found, scenario))
    if any(is_of_another_scenario(item) for item in broken) and form not in ("json", "yaml"):
        raise VerificationError(another_scenario_text(scenario_path, plan_path))
    _print_verdict(plan_path, scenario, found, broken=broken, form=form)
    return Outcome.NOT_VERIFIED if broken else Outcome.DONE


def _print_verdict(
    plan_path: str, scenario: Scenario, found: Plan, *, broken: Sequence[Violation], form: str
) -> None:
    from planner.report.checks import checks_table, rule_checks
    from planner.report.subjects import violation_names

    match form:
        case "name":
            print_names(violation_names(broken, found))
        case "json" | "yaml":
            checks = document(rule_checks(scenario, found, broken))
            print_document({"verified": not broken, "violations": document(broken), "checks": checks}, form)
        case _:
            if form == "wide":
                click.echo(checks_table(rule_checks(scenario, found, broken)) + "\n")
            _print_violations(plan_path, scenario, broken)


def _print_violations(plan_path: str, scenario: Scenario, broken: Sequence[Violation]) -> None:
    if not broken:
        models, rules = len(scenario.models), len(Rule)
        click.echo(f"{plan_path}: verified against {rules} rules, {plural(models, 'model')}")
        return
    for violation in broken:
        click.echo(violation_sentence(violation))
    violations = plural(len(broken), "violation")
    of_rules = plural(len({violation.rule for violation in broken}), "rule")
    click.echo(f"{plan_path}: does not verify: {violations} of {of_rules}", err=True)


# ------------------------------------------------------------------------------------------------- diff


@click.command(epilog=_DIFF_EPILOG)
@click.argument("before", metavar="PLAN_A")
@click.argument("after", metavar="PLAN_B")
@click.option(
    "-f",
    "--filename",
    metavar="FILE",
    help="The scenario of PLAN_B: a line then says how long servers take to load what comes to them.",
)
@output_option(
    wide="from and to which devices, and how full the shards get",
    name="the shards and models that differ (shard/NAME, model/NAME)",
)
@talk_options
def diff(*, before: str, after: str, filename: str | None, form: str) -> Outcome:
    """Compare two plans: shards, replicas, refusals and cost.

    PLAN_A is the earlier plan, PLAN_B the later; they may be of different scenarios.
    """
    from planner.domain.difference import diff_plans
    from planner.report.differences import difference_tables, difference_text
    from planner.report.subjects import difference_names

    (earlier, old), (later, new) = read_plan_document(before), read_plan_document(after)
    times = [] if filename is None else _load_times(filename, after, earlier=earlier, later=later)
    found = diff_plans(earlier, later)
    match form:
        case "name":
            print_names(difference_names(found))
        case "table":
            click.echo("\n".join([difference_text(found), *times]))
        case "wide":
            click.echo("\n".join([difference_tables(found, old, new), *times]))
        case _:
            print_document(document(found), form)
    return Outcome.DONE if found.is_empty else Outcome.CHANGED


def _load_times(scenario_path: str, plan_path: str, *, earlier: Plan, later: Plan) -> list[str]:
    from planner.domain.canonical import sha256_of

    scenario = read_scenario(scenario_path)
    if later.scenario_sha256 != sha256_of(scenario):
        raise VerificationError(another_scenario_text(scenario_path, plan_path))
    return change_lines(scenario, earlier, later)
