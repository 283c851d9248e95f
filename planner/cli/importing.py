"""``import``: other systems' objects as a scenario."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.documents import check_output, print_names, write_output
from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, output_option, talk_options
from planner.errors import Fault, InputError
from planner.report.words import plural

if TYPE_CHECKING:
    from planner.scenario.foreign.collect import Imported
    from planner.scenario.foreign.read import Kind

_KINDS = ("kserve", "modelmesh", "seldon", "triton", "michelangelo")

_EPILOG = """\b
Examples:
  kubectl get trainedmodels -o yaml | shardpack import kserve - --out models.yaml
  shardpack import modelmesh services/ --storage localMinIO=s3://models --memory 500Mi
  shardpack import seldon models.yaml --shard-type aws-m7i.2xlarge --out scenario.yaml
  shardpack import triton model_repository/ --storage s3://models --shard-type aws-g4dn.xlarge
  shardpack import michelangelo model-list.json --backend python --memory 1Gi -o name

\b
Kinds:
  kserve        TrainedModels and InferenceServices, those of ModelMesh among them
  modelmesh     InferenceServices in the deployment mode ModelMesh, Predictors, ServingRuntimes
  seldon        Models and Servers of Seldon Core v2
  triton        folders of models, each with its config.pbtxt
  michelangelo  model-list.json, or the ConfigMap that holds it

What the files say and a scenario does not is told on stderr, each with its file and path. Sizes of files
are estimates, and declared figures are somebody's word: measure, and write footprints.

Exit codes: 0 everything was read, 2 something has a fault: all faults are listed, and nothing is written.
"""


@click.command("import", epilog=_EPILOG, short_help="Read models of KServe, ModelMesh, Seldon and others.")
@click.argument("kind", metavar="KIND", type=click.Choice(_KINDS))
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the scenario to this file."
)
@click.option("--name", default="imported", show_default=True, help="Name of the scenario.")
@click.option("--namespace", default="default", show_default=True, help="Its namespace.")
@click.option(
    "--shard-type",
    "uses",
    multiple=True,
    metavar="NAME",
    help="A shard type of the catalogue that may be opened, as aws-g4dn.xlarge; repeatable.",
)
@click.option(
    "--storage",
    multiple=True,
    metavar="[KEY=]URI",
    help="Where files are: a storage key of ModelMesh's, or the folder that holds a Triton repository's "
    "models (by default where they are read); repeatable.",
)
@click.option("--memory", metavar="QUANTITY", help="Host memory of a model that states none, as 500Mi.")
@click.option("--backend", metavar="NAME", help="What runs the models of michelangelo's lists.")
@output_option(
    wide="replicas, shared shard and files",
    name="the models (model/NAME)",
    default=None,
    otherwise="yaml without --out, otherwise nothing",
)
@talk_options
@click.pass_obj
def import_objects(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    kind: Kind,
    paths: tuple[str, ...],
    out: Path | None,
    name: str,
    namespace: str,
    uses: tuple[str, ...],
    storage: tuple[str, ...],
    memory: str | None,
    backend: str | None,
    form: str | None,
) -> Outcome:
    """Read another system's objects and write them as a scenario.

    KIND says whose they are, PATH files, folders or "-" for stdin. The scenario has the models, the shard
    types that the files tell, and those of --shard-type; another scenario may include it.
    """
    from planner.scenario.foreign.collect import Given
    from planner.scenario.foreign.document import document_text, imported_document
    from planner.scenario.foreign.read import read_foreign

    if out is not None:
        check_output(out, inputs=paths)
    given = Given(memory=memory, storage=dict(map(_storage, storage)), backend=backend)
    stdin = None if sys.stdin is None else sys.stdin.buffer
    imported = read_foreign(kind, paths, given=given, stdin=stdin)
    document = imported_document(imported, name=name, namespace=namespace, uses=_known(uses))
    if out is not None:
        write_output(out, document_text(document, as_json=out.suffix == ".json"))
    if not talk.quiet:
        _tell(imported, document, out)
    _print(imported, document, form or (None if out is not None else "yaml"))
    return Outcome.DONE


def _storage(text: str) -> tuple[str, str]:
    """Return key and URI; without a key it is the place of a repository."""
    key, equals, uri = text.partition("=")
    return (key, uri) if equals and "://" not in key else ("", text)


def _known(uses: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of shard types.

    Raises
    ------
    InputError
        The catalogue has none of that name.
    """
    from planner.scenario.catalogue import shipped_catalogue
    from planner.scenario.faults import one_of

    templates = shipped_catalogue().templates
    faults = [
        Fault(path="--shard-type", message=one_of("shard type in the catalogue called", use, templates))
        for use in uses
        if use not in templates
    ]
    if faults:
        raise InputError(faults)
    return uses


def _left_to_do(document: dict[str, Any]) -> tuple[Fault, ...]:
    """Return what `plan` would still refuse of a scenario; one without shard types is a part of another."""
    from planner.scenario.foreign.document import document_text
    from planner.scenario.load import parse_scenario

    if "shardTypes" not in document["spec"]:
        return ()
    try:
        parse_scenario(document_text(document, as_json=True), file="")
    except InputError as error:
        return error.faults
    return ()


def _tell(imported: Imported, document: dict[str, Any], out: Path | None) -> None:
    from planner.scenario.foreign.document import unknown_backends

    for note in imported.notes:
        click.echo(f"warning: {note}", err=True)
    for backend in unknown_backends(imported):
        click.echo(
            f"warning: nothing is known of what backend {backend!r} costs: see catalog.backends", err=True
        )
    for fault in _left_to_do(document):
        click.echo(f"left to do: {fault.path}: {fault.message}", err=True)
    shard_types = len(document["spec"].get("shardTypes", ()))
    what = f"{plural(len(imported.models), 'model')} and {plural(shard_types, 'shard type')}"
    click.echo(f"read {what}" if out is None else f"wrote {what} to {out}", err=True)
    if not shard_types:
        click.echo("there is no shard type yet: give --shard-type, or include this in a scenario", err=True)


def _print(imported: Imported, document: dict[str, Any], form: str | None) -> None:
    from planner.report.listings import models_table
    from planner.scenario.foreign.document import document_text

    match form:
        case None:
            pass
        case "yaml" | "json":
            click.echo(document_text(document, as_json=form == "json"), nl=False)
        case "name":
            print_names(f"model/{model.name}" for model in imported.models)
        case _:
            click.echo(models_table(imported.models, wide=form == "wide"))
