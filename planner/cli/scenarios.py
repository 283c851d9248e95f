"""``validate`` and ``limits``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from planner.cli.documents import document, print_document, print_names, read_scenario, read_verified
from planner.cli.exitcodes import Outcome
from planner.cli.options import output_option, scenario_option, split_paths, talk_options
from planner.report.words import plural

if TYPE_CHECKING:
    from planner.domain.scenario import Scenario

_VALIDATE_EPILOG = """\b
Examples:
  shardpack validate scenario.yaml
  shardpack validate -f scenario.yaml -o json
  shardpack validate scenario.yaml -o wide     # what the models of each backend ask for
  shardpack validate scenario.yaml -o name     # the models, as model/sports-en

Exit codes: 0 the scenario is sound, 2 it has faults: each on stderr with its file, line and path.
"""

_LIMITS_EPILOG = """\b
Examples:
  shardpack limits scenario.yaml
  shardpack limits scenario.yaml plan.json
  shardpack limits scenario.yaml plan.json --transformers 2 -o wide

Units: CPU in cores (500m is half a core), memory in bytes with binary suffixes (1Gi is 2^30 bytes).
"""


@click.command(epilog=_VALIDATE_EPILOG)
@click.argument("paths", metavar="[FILE]", nargs=-1)
@scenario_option
@output_option(wide="what the models of each backend ask for", name="the models (model/NAME)")
@talk_options
def validate(*, paths: tuple[str, ...], filename: str | None, form: str) -> Outcome:
    """Check a scenario and say what is in it.

    FILE is the scenario (YAML or JSON; "-" is stdin). Every fault is listed, not only the first.
    """
    (path,) = split_paths(paths, filename, wanted=("FILE",))
    scenario = read_scenario(path)
    match form:
        case "name":
            print_names(f"model/{model.name}" for model in scenario.models)
        case "json" | "yaml":
            print_document(_digest(scenario), form)
        case _:
            click.echo(f"{path}: sound: {_contents(scenario)}")
            if form == "wide":
                _print_demands(scenario)
    return Outcome.DONE


def _digest(scenario: Scenario) -> dict[str, object]:
    from planner.domain.canonical import sha256_of
    from planner.report.demands import scenario_demands

    head = {"name": scenario.name, "namespace": scenario.namespace, "sha256": sha256_of(scenario)}
    return {**head, **_counts(scenario), "demands": document(scenario_demands(scenario))}


def _print_demands(scenario: Scenario) -> None:
    from planner.report.demands import demands_table, scenario_demands

    click.echo()
    click.echo(demands_table(scenario_demands(scenario)))
    quantile = scenario.policy.quantile
    click.echo(
        f"\nFootprints of all replicas at {quantile} as the scenario states them, without what servers and "
        "backends take.\nA model that may go on several classes is counted under each; of several options "
        "the least of each amount."
    )


def _counts(scenario: Scenario) -> dict[str, int]:
    return {
        "models": len(scenario.models),
        "replicas": sum(model.replicas for model in scenario.models),
        "shardTypes": len(scenario.shard_types),
        "nodes": len(scenario.nodes),
    }


def _contents(scenario: Scenario) -> str:
    counts = _counts(scenario)
    parts = [
        plural(counts["models"], "model"),
        plural(counts["replicas"], "replica"),
        plural(counts["shardTypes"], "shard type"),
    ]
    if counts["nodes"]:
        parts.append(plural(counts["nodes"], "node"))
    return ", ".join(parts)


@click.command(epilog=_LIMITS_EPILOG, short_help="Compute the three limits of one model a service.")
@click.argument("paths", metavar="[FILE] [PLAN]", nargs=-1)
@scenario_option
@click.option(
    "--transformers",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Transformer pods of each InferenceService that holds one model.",
)
@output_option(
    wide="how every figure was reckoned",
    name="the limits that the cluster sets, the tightest first (limit/pods, limit/ips)",
)
@talk_options
def limits(*, paths: tuple[str, ...], filename: str | None, transformers: int, form: str) -> Outcome:
    """Compute the three limits: one model per InferenceService against shards.

    Sidecar CPU and memory, pods and IP addresses are what a cluster runs out of first when every model
    is an InferenceService. FILE is the scenario; with a PLAN of it, the shards' side is filled in. Every
    figure is printed with the assumption behind it.
    """
    from planner.report.limits import limits_text
    from planner.report.subjects import limit_names
    from planner.sizing.limits import serving_limits

    with_plan = len(paths) + (filename is not None) > 1
    scenario_path, *plan_path = split_paths(
        paths, filename, wanted=("FILE", "PLAN") if with_plan else ("FILE",)
    )
    if plan_path:
        scenario, found = read_verified(scenario_path, *plan_path)
        figures = serving_limits(scenario, found, transformer_replicas=transformers)
    else:
        figures = serving_limits(read_scenario(scenario_path), transformer_replicas=transformers)
    match form:
        case "name":
            print_names(limit_names(figures))
        case "json" | "yaml":
            print_document(document(figures), form)
        case _:
            click.echo(limits_text(figures, wide=form == "wide"))
    return Outcome.DONE
