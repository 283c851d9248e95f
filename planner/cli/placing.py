"""``place``."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.documents import (
    check_output,
    print_document,
    print_names,
    read_plan,
    read_scenario,
    write_output,
)
from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, output_option, talk_options
from planner.errors import VerificationError

if TYPE_CHECKING:
    from planner.domain.plan import Plan
    from planner.domain.scenario import Scenario
    from planner.online.planning import Grown

_PLACE_EPILOG = """\b
Examples:
  shardpack place plan.json -f scenario.yaml                            # all that the plan lacks
  shardpack place plan.json sports-en -f scenario.yaml --out plan.json  # one model, in place
  shardpack place plan.json -f scenario.yaml -o name

Nothing moves and no shard is opened: what finds no room is refused, and "shardpack plan FILE --from PLAN"
may open shards and move for it.

Exit codes: 0 every model got a place, 3 some are refused (the plan is written all the same), 2 bad input,
4 what PLAN places breaks a rule of the scenario as it is now (nothing is written).
"""


@click.command(epilog=_PLACE_EPILOG, short_help="Find places for new models without moving any other.")
@click.argument("plan_path", metavar="PLAN")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option(
    "-f",
    "--filename",
    "--scenario",
    "scenario_path",
    metavar="FILE",
    required=True,
    help='The scenario with the new models in it (YAML or JSON); "-" is stdin.',
)
@output_option(
    wide="the node, the device's memory and what is left of it",
    name="the models that got a place (model/NAME)",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the new plan to this file, which may be PLAN itself.",
)
@talk_options
@click.pass_obj
def place(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    plan_path: str,
    models: tuple[str, ...],
    scenario_path: str,
    form: str,
    out: Path | None,
) -> Outcome:
    """Find places in a plan that is in force for models that it lacks; nothing else is moved.

    PLAN is a plan of the scenario as it was before the models came. Without MODEL all that it lacks are
    placed, the most important and then the largest first. Each goes where the free room stays of most use
    to models like those of the scenario. The new plan is verified before it is shown or written.
    """
    from planner.online.planning import grow_plan

    if out is not None:
        check_output(out, inputs=[scenario_path])
    scenario, base = read_scenario(scenario_path), read_plan(plan_path)
    wanted = _wanted(scenario, scenario_path, models)
    try:
        grown = grow_plan(scenario, base, only=wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except VerificationError as error:
        message = f"{plan_path}: {error}\nplan anew: shardpack plan {scenario_path} --from {plan_path}"
        raise VerificationError(message) from error
    if out is not None:
        _write(out, grown.plan, scenario, talk=talk)
    _show(scenario, grown, form)
    return Outcome.REFUSED if grown.plan.refusals else Outcome.DONE


def _wanted(scenario: Scenario, path: str, given: tuple[str, ...]) -> set[str] | None:
    """Return the models that were named, None if none was; ``model/NAME`` is taken as well."""
    known = {model.name for model in scenario.models}
    names = [item.removeprefix("model/") for item in given]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"{path} has no model {name!r}{hint}")
    return set(names) or None


def _write(out: Path, plan: Plan, scenario: Scenario, *, talk: Talk) -> None:
    from planner.scenario.plan_file import plan_text

    write_output(out, plan_text(plan, scenario))
    if not talk.quiet:
        click.echo(f"wrote {out}", err=True)


def _show(scenario: Scenario, grown: Grown, form: str) -> None:
    from planner.scenario.plan_file import plan_document, plan_text

    match form:
        case "name":
            print_names(f"model/{item.model}" for item in grown.outcome.placed)
        case "json":
            click.echo(plan_text(grown.plan, scenario), nl=False)
        case "yaml":
            print_document(plan_document(grown.plan, scenario), form)
        case _:
            from planner.report.placing import placing_text

            click.echo(placing_text(scenario, grown, wide=form == "wide"))
