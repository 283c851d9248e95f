"""``apply``: a plan into a cluster."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.documents import print_document, read_verified
from planner.cli.exitcodes import Outcome
from planner.cli.options import (
    Seconds,
    Talk,
    cluster_options,
    output_option,
    scenario_option,
    split_paths,
    talk_options,
)
from planner.cli.readiness import wait_until_ready
from planner.errors import ClusterError, ConflictError, Fault, InputError, ShardpackError
from planner.report.words import plural

if TYPE_CHECKING:
    from planner.cluster.rollout import DryRun, Result, Rollout

_MOST_NAMES = 3

_EPILOG = """\b
Examples:
  shardpack apply scenario.yaml plan.json --diff            # what would change; changes nothing
  shardpack apply scenario.yaml plan.json --prune --wait    # all of it, models before shards that go
  shardpack apply deploy/ --dry-run server --context test   # the server judges and stores nothing
  shardpack apply deploy/ -o name                           # the objects as kubectl names them

\b
Exit codes: 0 done, 1 some objects failed, 2 bad usage or bad input.
With --diff: 0 nothing would change, 1 something would, above 1 an error.

Objects are applied server-side by the field manager "shardpack", in stages: namespace, ConfigMaps, shards,
TrainedModels. A stage that fails ends it; what is in it is tried to the end. Only what carries the labels of
this scenario is ever pruned, TrainedModels first, and never a namespace or what has an owner.
"""


@click.command("apply", epilog=_EPILOG, short_help="Put a plan into a cluster.")
@click.argument("paths", metavar="[FILE] PLAN|DIR", nargs=-1)
@scenario_option
@click.option("--diff", "show_difference", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--dry-run",
    type=click.Choice(["none", "client", "server"]),
    default="none",
    show_default=True,
    help="client only reads; server lets the API server judge every object and stores nothing.",
)
@click.option("--prune", is_flag=True, help="Delete what an earlier plan of the scenario left behind.")
@click.option(
    "--force-conflicts", is_flag=True, help="Take fields that another field manager owns instead of failing."
)
@click.option(
    "--wait",
    is_flag=True,
    help="Wait for shards before TrainedModels, and for TrainedModels before anything is pruned.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(min=1),
    default=600.0,
    show_default=True,
    help="The longest that --wait waits for a stage.",
)
@cluster_options
@output_option(
    wide="API version, namespace and why it failed",
    name="the objects as kubectl names them (configmap/NAME...)",
    default=None,
    otherwise="a line an object, as it is done",
)
@talk_options
@click.pass_obj
def apply(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    paths: tuple[str, ...],
    filename: str | None,
    show_difference: bool,
    dry_run: DryRun,
    prune: bool,
    force_conflicts: bool,
    wait: bool,
    timeout_s: float,
    kubeconfig: str | None,
    context: str | None,
    form: str | None,
) -> Outcome:
    """Put a plan into a cluster, and tell what became of every object.

    FILE is the scenario and PLAN a plan of it; or DIR a folder that `shardpack manifests` has written.
    """
    from planner.cluster import connect
    from planner.cluster.rollout import Rollout

    if show_difference and (wait or dry_run != "none"):
        raise click.UsageError("--diff changes nothing: it goes with neither --wait nor --dry-run")
    objects = _objects(paths, filename)
    warnings: Counter[str] = Counter()

    def warn(text: str) -> None:
        warnings[text] += 1

    kube = connect(kubeconfig=kubeconfig, context=context).adjusted(on_warning=warn)
    mode: DryRun = "server" if show_difference else dry_run
    rollout = Rollout(kube, dry_run=mode, force=force_conflicts)
    report = _Report(form="diff" if show_difference else form, mode=dry_run)
    ready = _readiness(rollout, talk, timeout_s=timeout_s) if wait and mode == "none" else _at_once
    _carry_out(objects, rollout, report, ready=ready, prune=prune, quiet=talk.quiet)
    for text, count in warnings.items() if not talk.quiet else ():
        click.echo(f"the API server warns ({plural(count, 'time')}): {text}", err=True)
    return report.close()


def _objects(paths: tuple[str, ...], filename: str | None) -> tuple[dict[str, Any], ...]:
    """Return the objects to apply, of a folder or of a plan."""
    from planner.manifests.reading import read_manifests

    if len(paths) == 1 and filename is None:
        if Path(paths[0]).is_dir():
            return read_manifests(Path(paths[0]))
        if not Path(paths[0]).exists():
            raise InputError([Fault(path="", file=paths[0], message="there is no such folder")])
    import yaml

    from planner.manifests import render_plan
    from planner.manifests.render import KUSTOMIZATION

    scenario_path, plan_path = split_paths(paths, filename, wanted=("FILE", "PLAN"))
    scenario, plan = read_verified(scenario_path, plan_path)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    files = (file for file in render_plan(plan, scenario) if file.path != KUSTOMIZATION)
    return tuple(item for file in files for item in yaml.load_all(file.text, loader))


# ----------------------------------------------------------------------------------------------- carrying out


Ready = Callable[[Sequence[dict[str, Any]]], None]
"""Waits until objects are what was asked for."""


def _at_once(objects: Sequence[dict[str, Any]]) -> None:
    """Wait for nothing."""


def _readiness(rollout: Rollout, talk: Talk, *, timeout_s: float) -> Ready:
    def wait(objects: Sequence[dict[str, Any]]) -> None:
        wait_until_ready(objects, rollout.read_all, timeout_s=timeout_s, quiet=talk.quiet)

    return wait


def _carry_out(  # noqa: PLR0913 - what is done, how, and who is told
    objects: Sequence[dict[str, Any]],
    rollout: Rollout,
    report: _Report,
    *,
    ready: Ready,
    prune: bool,
    quiet: bool,
) -> None:
    """Apply objects stage by stage, and then look at what is left over; a stage that fails ends it."""
    from planner.manifests.rollout import stages

    # Which selector is known before anything is done, and whether there is one.
    left_over = _LeftOver.of(objects, required=prune)
    for stage in stages(objects):
        report.add(rollout.apply(stage))
        if report.failed:
            return
        ready(stage)
    if left_over is not None and prune:
        _prune(left_over, objects, rollout, report)
    elif left_over is not None and not quiet:
        _advise(left_over, objects, rollout)


def _prune(
    left_over: _LeftOver, objects: Sequence[dict[str, Any]], rollout: Rollout, report: _Report
) -> None:
    """Delete what is left over, stage by stage; nothing where something is not known."""
    from planner.manifests.rollout import in_order_of_deletion

    try:
        stale = left_over.found(rollout, objects)
        named = left_over.named(rollout, objects, stale)
    except ClusterError as error:  # what is applied is applied
        report.refuse(f"nothing is pruned: {error}")
        return
    if named:
        report.refuse(_refusal(named))
        return
    for stage in in_order_of_deletion(stale):
        report.add(rollout.delete(stage))
        if report.failed:
            return


def _advise(left_over: _LeftOver, objects: Sequence[dict[str, Any]], rollout: Rollout) -> None:
    """Tell what is left over, which --prune would delete."""
    try:
        stale = left_over.found(rollout, objects)
    except ClusterError as error:
        click.echo(f"what an earlier plan left behind is not known: {error}", err=True)
        return
    if stale:
        click.echo(_advice(stale), err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LeftOver:
    """Where and by what labels the rest of earlier plans is found."""

    labels: str
    namespaces: tuple[str, ...]

    @classmethod
    def of(cls, objects: Sequence[dict[str, Any]], *, required: bool) -> _LeftOver | None:
        from planner.manifests.rollout import namespaces_of, prune_selector

        try:
            return cls(labels=prune_selector(objects), namespaces=namespaces_of(objects))
        except InputError:
            if required:
                raise
            return None

    def found(self, rollout: Rollout, keep: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        from planner.manifests.rollout import PRUNED

        return tuple(
            item
            for namespace in self.namespaces
            for item in rollout.left_over(PRUNED, namespace=namespace, labels=self.labels, keep=keep)
        )

    def named(
        self, rollout: Rollout, wanted: Sequence[dict[str, Any]], stale: Sequence[dict[str, Any]]
    ) -> dict[str, tuple[str, ...]]:
        """Return the shards among what is left over that TrainedModels which stay name, with those."""
        from planner.manifests.rollout import TRAINED_MODEL, still_named

        live = [item for name in self.namespaces for item in rollout.all_of(*TRAINED_MODEL, namespace=name)]
        return still_named(stale, wanted, live)


def _advice(stale: Sequence[dict[str, Any]]) -> str:
    from planner.report.listings import object_name

    names = ", ".join(object_name(item) for item in stale[:_MOST_NAMES])
    more = f" and {len(stale) - _MOST_NAMES:,} more" if len(stale) > _MOST_NAMES else ""
    return (
        f"{plural(len(stale), 'object')} of an earlier plan of this scenario ({names}{more}) contradict this "
        "one as long as they stay; --prune deletes them"
    )


def _refusal(named: dict[str, tuple[str, ...]]) -> str:
    shard, models = next(iter(named.items()))
    some = ", ".join(models[:_MOST_NAMES])
    more = f" and {len(models) - _MOST_NAMES:,} more" if len(models) > _MOST_NAMES else ""
    others = f", and {plural(len(named) - 1, 'further shard')} like it" if len(named) > 1 else ""
    return (
        f"nothing is pruned: shard {shard} would go, and models that are not of this plan name it"
        f" ({some}{more}){others}. KServe deletes a TrainedModel whose InferenceService is gone. Is this the"
        " name of a controller's fleet? Give the plan another, or take these models into it"
    )


# -------------------------------------------------------------------------------------------------- reporting


@dataclass(kw_only=True)
class _Report:
    """Prints what became of objects as it is known, and what that makes of the command."""

    form: str | None
    mode: DryRun
    failed: int = 0
    changed: int = 0
    owned: bool = False
    refusal: str | None = None
    _results: list[Result] = field(default_factory=list)

    def add(self, results: Iterable[Result]) -> None:
        for result in results:
            self.failed += result.outcome == "failed"
            self.changed += result.outcome not in ("unchanged", "failed")
            if result.error is not None:
                click.echo(f"{_name(result)}: {result.error}", err=True)
            self.owned |= isinstance(result.error, ConflictError) and bool(result.error.faults)
            self._print(result)

    def refuse(self, why: str) -> None:
        """Take note that something was not begun, and why."""
        self.refusal = why

    def _print(self, result: Result) -> None:
        match self.form:
            case "diff":
                from planner.cli.differing import difference_text

                if result.outcome != "failed":
                    click.echo(difference_text(result.before, result.after, name=_name(result)), nl=False)
            case "name":
                click.echo(_name(result))
            case None:
                suffix = "" if self.mode == "none" else f" ({self.mode} dry run)"
                click.echo(f"{_name(result)} {result.outcome}{suffix}")
            case _:
                self._results.append(result)
        sys.stdout.flush()  # somebody may be watching

    def close(self) -> Outcome:
        """Print what is left to print, and return what it all came to."""
        if self.form in ("json", "yaml"):
            print_document([_document(result) for result in self._results], self.form)
        elif self.form in ("table", "wide"):
            from planner.report.listings import outcomes_table

            click.echo(outcomes_table(map(_document, self._results), wide=self.form == "wide"))
        if self.failed:
            advice = "; --force-conflicts takes fields that others own" if self.owned else ""
            raise ShardpackError(f"{plural(self.failed, 'object')} failed{advice}")
        if self.refusal is not None:
            raise ShardpackError(self.refusal)
        return Outcome.CHANGED if self.form == "diff" and self.changed else Outcome.DONE


def _name(result: Result) -> str:
    from planner.report.listings import object_name

    return object_name(
        {"apiVersion": result.api_version, "kind": result.kind, "metadata": {"name": result.key.name}}
    )


def _document(result: Result) -> dict[str, Any]:
    return {
        "apiVersion": result.api_version,
        "kind": result.kind,
        "namespace": result.key.namespace or None,
        "name": result.key.name,
        "outcome": result.outcome,
        "error": None if result.error is None else str(result.error),
        "faults": [] if result.error is None else [_fault(fault) for fault in result.error.faults],
    }


def _fault(fault: Fault) -> dict[str, str]:
    return {"path": fault.path, "message": fault.message}
