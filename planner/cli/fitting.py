"""``fit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from planner.cli.documents import STDIN, document, print_document, print_names, stdin_text
from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, cluster_options, controller_options, output_option, talk_options

if TYPE_CHECKING:
    from planner.controller.fitting import Verdict

_EPILOG = """\b
Examples:
  shardpack fit sports-en.yaml --namespace models
  kubectl get trainedmodel sports-en -o yaml | shardpack fit - -n models

Nothing is written. What waits for a place in the cluster already gets one first, as from the controller.

Exit codes: 0 all models fit, 3 some do not, or belong to no group of a fleet, 2 bad input.
"""


@click.command(epilog=_EPILOG, short_help="Say whether TrainedModels would get a place in a cluster.")
@click.argument("path", metavar="FILE")
@controller_options
@click.option("-n", "--namespace", help="Of the cluster; by default the context's namespace.")
@cluster_options
@output_option(wide="nothing", name="the models that fit (model/NAME)")
@talk_options
@click.pass_obj
def fit(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    path: str,
    mode: Literal["kserve", "standalone"],
    gateway: Literal["none", "nginx"],
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
    form: str,
) -> Outcome:
    """Say whether TrainedModels would get a place as a cluster stands, and where, with numbers.

    FILE holds TrainedModels (YAML or JSON; "-" is stdin). Each is judged by itself, by the code that the
    controller decides with.
    """
    del talk
    from planner.cluster import connect
    from planner.controller.fitting import fit as fit_one
    from planner.controller.loop import read_objects
    from planner.controller.objects import Style
    from planner.manifests.options import ManifestOptions

    items = _trained_models(path)
    kube = connect(kubeconfig=kubeconfig, context=context)
    where = namespace or kube.namespace
    style = Style(mode=mode, options=ManifestOptions(gateway=gateway))
    objects = read_objects(kube, namespace=where, style=style)
    found = [fit_one(objects, item, namespace=where, style=style) for item in items]
    _show(found, form)
    return Outcome.DONE if all(verdict.fits for verdict in found) else Outcome.REFUSED


def _trained_models(path: str) -> list[dict[str, Any]]:
    """Return the TrainedModels of a file.

    Raises
    ------
    click.UsageError
        It holds none, or something else.
    """
    from pathlib import Path

    from planner.controller.fitting import is_trained_model
    from planner.scenario.documents import parse_documents, read_text

    text = stdin_text() if path == STDIN else read_text(Path(path), file=path)
    items = [item.data for item in parse_documents(text, file=path)]
    if not all(map(is_trained_model, items)):
        raise click.UsageError(f"{path} holds something that is no TrainedModel")
    if not items:
        raise click.UsageError(f"{path} holds no TrainedModel")
    return items


def _show(found: list[Verdict], form: str) -> None:
    match form:
        case "name":
            print_names(f"model/{verdict.model}" for verdict in found if verdict.fits)
        case "json" | "yaml":
            print_document([{**document(verdict), "fits": verdict.fits} for verdict in found], form)
        case _:
            for verdict in found:
                click.echo(_text(verdict))


def _text(verdict: Verdict) -> str:
    from planner.controller.fitting import place_sentence

    if not verdict.is_ours:
        return f"{verdict.model}: belongs to no group of a fleet"
    lines = [f"{verdict.model}: {'fits' if verdict.fits else 'does not fit'}"]
    lines += [f"  {place_sentence(place)}" for place in verdict.places]
    if verdict.refusal:
        lines.append(f"  {verdict.refusal}")
    return "\n".join(lines)
