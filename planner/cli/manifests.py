"""``manifests``: a plan as Kubernetes objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import click

from planner.cli.documents import print_document, print_names, read_verified
from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, output_option, scenario_option, split_paths, talk_options
from planner.cli.stores import store_options
from planner.report.words import plural

if TYPE_CHECKING:
    from planner.manifests import ManifestFile, Unpinned, Untaken
    from planner.manifests.options import GatewayKind

_MOST_NAMES = 3
"""Models that a warning names."""

_EPILOG = """\b
Examples:
  shardpack manifests scenario.yaml plan.json --out deploy/
  shardpack manifests scenario.yaml plan.json --out - | kubectl diff -f -
  shardpack manifests scenario.yaml plan.json --out deploy/ -o table    # the objects and their files
  shardpack manifests scenario.yaml plan.json --out - -o name | xargs kubectl get -n models
  shardpack manifests scenario.yaml plan.json --out deploy/ --gateway nginx   # http://GROUP-gateway
  shardpack manifests scenario.yaml plan.json --out deploy/ --secret s3 --env AWS_ENDPOINT_URL=http://minio:9000

The folder then holds exactly the plan's files: what an earlier plan wrote there is removed, and a
folder that holds anything else is refused. Equal plans give equal bytes.
"""


@click.command(epilog=_EPILOG, short_help="Write a plan as Kubernetes objects.")
@click.argument("paths", metavar="[FILE] PLAN", nargs=-1)
@scenario_option
@click.option(
    "--out", required=True, metavar="DIR", help='The folder to write; "-" prints all objects on stdout.'
)
@click.option(
    "--gateway",
    type=click.Choice(["none", "nginx", "httproute"]),
    default="none",
    show_default=True,
    help="One address for all models of a group, wherever they live: nginx writes a gateway for each group, "
    "httproute routes for a Gateway that the cluster has.",
)
@click.option(
    "--gateway-parent",
    metavar="[NAMESPACE/]NAME",
    help="The Gateway that --gateway httproute attaches its routes to.",
)
@click.option(
    "--network-policy",
    "network_policies",
    is_flag=True,
    help="Write NetworkPolicies: ports by which models are loaded are open inside of the namespace only.",
)
@store_options
@output_option(
    wide="API version, namespace and size of every object",
    name="the objects as kubectl names them (configmap/NAME...)",
    default=None,
    otherwise="yaml with --out -, otherwise nothing",
)
@talk_options
@click.pass_obj
def manifests(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    /,
    *,
    paths: tuple[str, ...],
    filename: str | None,
    out: str,
    gateway: GatewayKind,
    gateway_parent: str | None,
    network_policies: bool,
    form: str | None,
    **stores: Any,
) -> Outcome:
    """Write a plan as Kubernetes objects: a kustomization with a folder for each shard.

    FILE is the scenario, PLAN a plan of it. Each shard becomes an InferenceService, the ConfigMaps that
    its agent reads and the TrainedModels that live on it. -o table lists the objects and their files.
    """
    from planner.manifests import (
        ManifestOptions,
        render_plan,
        unpinned_models,
        untaken_uris,
        write_manifests,
    )

    if (gateway == "httproute") != (gateway_parent is not None):
        raise click.UsageError("--gateway httproute and --gateway-parent go together")
    options = ManifestOptions(
        gateway=gateway,
        gateway_parent=gateway_parent,
        network_policies=network_policies,
        **{name: value for name, value in stores.items() if value is not None},
    )
    scenario_path, plan_path = split_paths(paths, filename, wanted=("FILE", "PLAN"))
    scenario, found = read_verified(scenario_path, plan_path)
    files = render_plan(found, scenario, options=options)
    if out != "-":
        write_manifests(files, Path(out))
        if not talk.quiet:
            click.echo(f"wrote {len(files):,} files to {out}", err=True)
    if not talk.quiet:
        warnings = [_untaken_text(item) for item in untaken_uris(found, scenario)]
        unpinned = unpinned_models(found, scenario, environment=options.environment)
        for text in (*warnings, *map(_unpinned_text, unpinned)):
            click.echo(f"warning: {text}", err=True)
    _print_objects(files, form or ("yaml" if out == "-" else None))
    return Outcome.DONE


def _named(models: tuple[str, ...]) -> str:
    """Return how many models there are and the first names, in one line however many they are."""
    count, first = len(models), ", ".join(models[:_MOST_NAMES])
    names = f"{first} and {count - _MOST_NAMES:,} more" if count > _MOST_NAMES else first
    return f"{plural(count, 'model')} ({names})"


def _unpinned_text(unpinned: Unpinned) -> str:
    """Return where models may run whose backend has the last word on that."""
    from planner.manifests.pinning import SHOWN

    otherwise = (
        f", or have them see no other: --env {'='.join(SHOWN)}" if unpinned.backend == "python" else ""
    )
    return (
        f"{_named(unpinned.models)} of the backend {unpinned.backend} may run on other GPUs of their shards "
        f"than planned: give them a shard type that has no others{otherwise}"
    )


def _untaken_text(untaken: Untaken) -> str:
    """Return what becomes of models whose storageUri is not taken."""
    from planner.manifests.storage import SCHEMES

    have = "has" if len(untaken.models) == 1 else "have"
    found = " or ".join(f"{scheme}://" for scheme in untaken.schemes)
    known = ", ".join(f"{scheme}://" for scheme in SCHEMES[untaken.taker])
    match untaken.taker:
        case "agent":
            fate = f"the agent fetches {known} only, and ends at DownloadFailed"
        case "kserve":
            fate = f"KServe takes {known} only, and refuses the TrainedModel"
        case _:
            assert_never(untaken.taker)
    return f"{_named(untaken.models)} {have} a storageUri of {found}: {fate}"


def _print_objects(files: Sequence[ManifestFile], form: str | None) -> None:
    from planner.report.listings import object_name, objects_table

    match form:
        case None:
            pass
        case "yaml":
            click.echo("".join(file.text for file in _in_order(files)), nl=False)
        case "json":
            items = [item for _, item in _objects(files)]
            print_document({"apiVersion": "v1", "kind": "List", "items": items}, form)
        case "name":
            print_names(object_name(item) for _, item in _objects(files))
        case _:
            click.echo(objects_table(list(_objects(files)), wide=form == "wide"))


def _objects(files: Sequence[ManifestFile]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object with the path of its file."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for file in _in_order(files):
        for item in yaml.load_all(file.text, loader):
            yield file.path, item


def _in_order(files: Sequence[ManifestFile]) -> list[ManifestFile]:
    """Return the files of objects in an order in which these can be applied.

    TrainedModels come last: KServe deletes one whose InferenceService does not exist.
    """
    objects = [file for file in files if not file.path.endswith("kustomization.yaml")]
    return sorted(objects, key=lambda file: file.path.endswith("trainedmodels.yaml"))
