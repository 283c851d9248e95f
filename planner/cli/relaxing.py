"""``relax``."""

from __future__ import annotations

import io
import sys

import click

from planner.cli.budget import budget_options, solve_options
from planner.cli.documents import document, print_document, print_names, read_scenario, read_verified
from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, output_option, scenario_option, split_paths, talk_options
from planner.cli.progress import shown_progress

_EPILOG = """\b
Examples:
  shardpack relax scenario.yaml plan.json
  shardpack relax scenario.yaml                      # plans first
  shardpack relax scenario.yaml plan.json --time-limit 30 -o json

Every change was tried: the changed scenario has a verified plan. LEAST says whether a smaller change was
proven not to be enough, or only not found to be. USD/H is what it costs more for an hour; nodes that exist
have no price in a scenario, so they are counted. "nodes[a].count" stands for nodes like a.

Exit codes: 0 a change places everything (or nothing is refused), 3 none does, 2 bad input, 4 the plan does
not verify.
"""

_DEFAULT_LIMIT_S = 300.0


@click.command(epilog=_EPILOG, short_help="Find the least change that places what is refused.")
@click.argument("paths", metavar="[FILE] [PLAN]", nargs=-1)
@scenario_option
@output_option(
    wide="the whole cost and what is still refused, and cuts no list",
    name="the fields to change (field/policy.headroom.gpuMemory)",
)
@budget_options(
    work="Budget of each trial in units of deterministic work, 20 by default, 4 above 5,000 replicas; "
    "a dozen to a hundred are made.",
    time_limit="Time for all trials together; what was found by then is printed.",
    default_limit_s=_DEFAULT_LIMIT_S,
)
@talk_options
@click.pass_obj
def relax(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    paths: tuple[str, ...],
    filename: str | None,
    form: str,
    seed: int,
    work: int | None,
    time_limit_s: float,
    workers: int,
) -> Outcome:
    """Find the least change of a scenario that places what is refused, by solving, not by guessing.

    FILE is the scenario, PLAN a plan of it that refuses something; without one the scenario is planned first.
    Tried are more shards, addresses, pods, models a shard or money, more nodes of a kind, less headroom, a
    looser spread, shared tenants, a larger ConfigMap, and pins and groups of what is refused: each alone, and
    together where none is enough.
    """
    from planner.report.relaxing import relaxation_names, relaxations_text
    from planner.solve.relax.search import relax as find_relaxations

    given = len(paths) + (filename is not None)
    scenario_path, *rest = split_paths(paths, filename, wanted=("FILE", "PLAN")[: max(1, given)])
    scenario, plan = read_verified(scenario_path, rest[0]) if rest else (read_scenario(scenario_path), None)
    options = solve_options(seed, work, time_limit_s=time_limit_s, workers=workers)
    stream = sys.stderr or io.StringIO()  # None where the shell closed it
    with shown_progress(stream, quiet=talk.quiet) as progress:
        found = find_relaxations(scenario, plan, options, progress=progress)
    match form:
        case "name":
            print_names(relaxation_names(found))
        case "json" | "yaml":
            print_document(document(found), form)
        case _:
            click.echo(relaxations_text(found, wide=form == "wide"))
    is_enough = found.placed == found.wanted or any(not item.refused for item in found.found)
    return Outcome.DONE if is_enough else Outcome.REFUSED
