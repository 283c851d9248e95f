"""``propose``."""

from __future__ import annotations

import dataclasses
import io
import os
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from planner.cli.budget import budget_options, solve_options
from planner.cli.documents import print_document, print_names, write_output
from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, cluster_options, controller_options, output_option, talk_options
from planner.cli.progress import shown_progress

if TYPE_CHECKING:
    from planner.controller.proposing import Proposal, Situation
    from planner.solve.options import SolveOptions

_EPILOG = """\b
Examples:
  shardpack propose --namespace models
  shardpack propose -n models --max-moves 20 -o wide
  shardpack propose -n models --out proposal/     # then: shardpack diff, rehearse, apply
  shardpack propose -n models --publish           # as the CronJob of kustomize/planning

Nothing is carried out. --publish writes the ConfigMap shardpack-proposal and events, and nothing else.

Exit codes: 0 done, 2 bad input (also a fleet document with faults, after all others were planned), 3 some
models have no place in what is proposed (0 with --publish: it is said there).
"""


@click.command(
    epilog=_EPILOG, short_help="Plan a cluster as it stands: what would be better, by which moves."
)
@click.option("-n", "--namespace", help="Whose TrainedModels; by default the context's namespace.")
@controller_options
@cluster_options
@click.option(
    "--nodes/--no-nodes", default=True, help="Read nodes where a fleet has some, which takes a ClusterRole."
)
@click.option(
    "--tolerate", "tolerated", metavar="KEY", multiple=True, help="As of inventory kube; repeatable."
)
@click.option(
    "--measured",
    "trust",
    type=click.Choice(["raise", "use", "ignore"]),
    default="raise",
    show_default=True,
    help="What agents have measured: raise footprints that are too small, use all figures, or none.",
)
@click.option(
    "--max-moves",
    type=click.IntRange(0, 2**63 - 1),
    help="Replicas of a group that may move: the least cost by so many moves. More are made only to repair "
    "what breaks a rule now.",
)
@click.option("--publish", is_flag=True, help="Write the ConfigMap shardpack-proposal and events.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write GROUP.scenario.json, GROUP.now.json and GROUP.plan.json into this folder.",
)
@output_option(wide="every change, and what is to be known", name="the groups that would change (group/NAME)")
@budget_options(
    work="Budget in units of deterministic work; the default follows the size of the group.",
    time_limit="Safety stop by the clock, for each group.",
)
@talk_options
@click.pass_obj
def propose(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    namespace: str | None,
    mode: Literal["kserve", "standalone"],
    gateway: Literal["none", "nginx"],
    kubeconfig: str | None,
    context: str | None,
    nodes: bool,
    tolerated: tuple[str, ...],
    trust: Literal["raise", "use", "ignore"],
    max_moves: int | None,
    publish: bool,
    out: Path | None,
    form: str,
    seed: int,
    work: int | None,
    time_limit_s: float | None,
    workers: int,
) -> Outcome:
    """Plan every group of a namespace's fleets as it stands, and say what would be better.

    TrainedModels, fleet documents, placement documents, nodes and what agents have measured are read; each
    group is planned to stay close to what is there, beside the other groups as they are.
    """
    from planner.cluster import connect
    from planner.controller.objects import Style
    from planner.controller.surveying import publish as publish_all
    from planner.controller.surveying import survey
    from planner.manifests.options import ManifestOptions

    kube = connect(kubeconfig=kubeconfig, context=context)
    where = namespace or kube.namespace
    found = survey(
        kube,
        namespace=where,
        style=Style(mode=mode, options=ManifestOptions(gateway=gateway)),
        with_nodes=nodes,
        trust=trust,
        tolerated=tolerated,
    )
    for text in (*found.faults, *(() if talk.quiet else found.remarks)):
        click.echo(text, err=True)
    options = solve_options(seed, work, time_limit_s=time_limit_s, workers=workers)
    options = dataclasses.replace(options, max_moves=max_moves)
    proposals = [_proposal(item, options, talk=talk) for item in found.situations]
    if out is not None:
        _write(proposals, out, talk=talk)
    if publish:
        publish_all(kube, proposals, found.faults, namespace=where, stamp=_stamp(), instance=_instance())
    _print(proposals, form, found.faults)
    if found.faults:
        return Outcome.INPUT
    refused = any(item.plan.refusals for item in proposals)
    return Outcome.REFUSED if refused and not publish else Outcome.DONE


def _proposal(situation: Situation, options: SolveOptions, *, talk: Talk) -> Proposal:
    from planner.controller.proposing import propose as propose_for
    from planner.solve.portfolio import make_plan

    stream = sys.stderr or io.StringIO()  # None where the shell closed it
    with shown_progress(stream, quiet=talk.quiet) as progress:
        return propose_for(
            situation,
            lambda scenario, now: make_plan(scenario, options, base=now, progress=progress),
        )


def _write(proposals: Sequence[Proposal], out: Path, *, talk: Talk) -> None:
    from planner.controller.proposal_document import files_of

    out.mkdir(parents=True, exist_ok=True)
    for item in proposals:
        for file in files_of(item):
            write_output(out / file.name, file.text)
            if not talk.quiet:
                click.echo(f"wrote {out / file.name}", err=True)


def _print(proposals: Sequence[Proposal], form: str, faults: Sequence[str]) -> None:
    from planner.controller.proposal_document import group_text, summary

    match form:
        case "name":
            print_names(f"group/{item.situation.group}" for item in proposals if not item.difference.is_empty)
        case "json" | "yaml":
            print_document(summary(proposals, faults, stamp=_stamp()), form)
        case "wide":
            click.echo("\n".join(map(group_text, proposals)), nl=False)
        case _:
            click.echo(_table(proposals))


def _table(proposals: Sequence[Proposal]) -> str:
    from planner.controller.proposal_document import group_summary
    from planner.report.text import table

    headers = ("GROUP", "MODELS", "SHARDS", "PROPOSED", "USD/H", "PROPOSED", "BOUND", "MOVES", "UNPLACED")
    rows = []
    for item in map(group_summary, proposals):
        now, then = item["now"], item["proposed"]
        counts = (item["models"], now["shards"], then["shards"])
        costs = (now["usdPerHour"], then["usdPerHour"], then["boundUsdPerHour"] or "-")
        rest = (item["changes"]["moves"], then["unplacedReplicas"])
        rows.append([item["group"], *map(str, (*counts, *costs, *rest))])
    return table(headers, rows, right=range(1, len(headers)))


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _instance() -> str:
    return os.environ.get("POD_NAME") or socket.gethostname()
