"""``webhook``."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, cluster_options, controller_options, talk_options

if TYPE_CHECKING:
    from planner.controller.webhook import Webhook

_EPILOG = """\b
Examples:
  shardpack webhook --namespace models --tls-cert tls.crt --tls-key tls.key
  shardpack webhook --tls-cert tls.crt --tls-key tls.key --address 0.0.0.0 --only-warn

How it is installed, and where its certificate comes from, is in docs/admission.md. It writes nothing, and
what cannot be judged is let through.

Exit codes: 0 stopped by SIGTERM or Ctrl-C, 1 an error inside, 2 bad usage, no certificate, or no cluster to
talk to.
"""


@click.command(
    epilog=_EPILOG, short_help="Refuse TrainedModels that would find no place, as they are created."
)
@controller_options
@click.option("-n", "--namespace", help="Whose TrainedModels; by default the context's namespace.")
@cluster_options
@click.option(
    "--tls-cert",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The certificate, PEM; it is read again when it changes.",
)
@click.option(
    "--tls-key", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Its key, PEM."
)
@click.option("--only-warn", is_flag=True, help="Refuse nothing: say what does not fit as a warning.")
@click.option(
    "--address", default="127.0.0.1", show_default=True, help="Where it is asked, and its probes are."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9443,
    show_default=True,
    help="Port of /validate-trainedmodels (HTTPS); 0 takes a free one.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=9083,
    show_default=True,
    help="Port of /livez, /readyz and /metrics; 0 takes a free one.",
)
@click.option("--nodes/--no-nodes", default=True, help="Watch nodes, which takes a ClusterRole.")
@talk_options
@click.pass_obj
def webhook(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    mode: Literal["kserve", "standalone"],
    gateway: Literal["none", "nginx"],
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
    tls_cert: Path,
    tls_key: Path,
    only_warn: bool,
    address: str,
    port: int,
    metrics_port: int,
    nodes: bool,
) -> Outcome:
    """Answer an API server that asks whether TrainedModels would get a place, for as long as it runs.

    It follows what the controller writes, and judges by the code that the controller decides with. One that
    finds no place is refused with the numbers; one for which a shard would be opened comes with a warning.
    """
    from planner.cluster import connect
    from planner.controller.objects import Style
    from planner.controller.webhook import Webhook, WebhookSettings
    from planner.manifests.options import ManifestOptions

    if not talk.quiet and not talk.debug:
        logging.getLogger("planner").setLevel(logging.INFO)
    kube = connect(kubeconfig=kubeconfig, context=context)
    settings = WebhookSettings(
        namespace=namespace or kube.namespace,
        certificate=tls_cert,
        key=tls_key,
        style=Style(mode=mode, options=ManifestOptions(gateway=gateway)),
        only_warn=only_warn,
        nodes=nodes,
        address=address,
        port=port,
        status_address=address,
        status_port=metrics_port,
    )
    running = Webhook(kube, settings)
    _stop_on_signals(running)
    running.run()
    return Outcome.DONE


def _stop_on_signals(running: Webhook) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.stop())
