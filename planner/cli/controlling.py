"""``controller``."""

from __future__ import annotations

import logging
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import click

from planner.cli.exitcodes import Outcome
from planner.cli.options import Seconds, Talk, cluster_options, talk_options
from planner.cli.stores import store_options

if TYPE_CHECKING:
    from planner.controller.loop import Controller

_EPILOG = """\b
Examples:
  shardpack controller --namespace models
  shardpack controller --mode standalone --namespace models --context kind-test
  POD_NAME=shardpack-controller-0 shardpack controller --address 0.0.0.0

What it assigns, and how, is in docs/controller.md. Several may run: one leads by the Lease, the others wait.

Exit codes: 0 stopped by SIGTERM or Ctrl-C, 1 an error inside, 2 bad usage or no cluster to talk to.
"""

_RENEW_SHARE, _RETRY_SHARE = 2 / 3, 2 / 15
"""Of a lease's duration: how long a leader leads without renewing it, and between tries (client-go's)."""


@click.command(epilog=_EPILOG, short_help="Assign TrainedModels to shards for as long as it runs.")
@click.option(
    "--mode",
    type=click.Choice(["kserve", "standalone"]),
    default="kserve",
    show_default=True,
    help="Whether KServe's controllers run in the cluster; standalone does their work for TrainedModels.",
)
@click.option("-n", "--namespace", help="Whose TrainedModels; by default the context's namespace.")
@cluster_options
@click.option(
    "--gateway",
    type=click.Choice(["none", "nginx"]),
    default="none",
    show_default=True,
    help="What answers under a group's address: nginx keeps a gateway for each group and its routes.",
)
@click.option("--lease", default="shardpack-controller", show_default=True, help="Name of the Lease.")
@click.option(
    "--lease-duration",
    type=Seconds(1, 3600),
    default=15.0,
    show_default=True,
    help="After so long without a sign of the leader another takes over.",
)
@click.option("--identity", help="Who this process is in the Lease; by default $POD_NAME or the host's name.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where probes and metrics are.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=9083,
    show_default=True,
    help="Port of /livez, /readyz and /metrics; 0 takes a free one.",
)
@click.option(
    "--close-empty",
    type=Seconds(min=1),
    default=600.0,
    show_default=True,
    help="Close a shard that the controller opened when it has been empty for so long.",
)
@click.option("--keep-empty", is_flag=True, help="Close no shard.")
@click.option(
    "--renew-servers",
    type=click.Choice(["never", "rolling", "all"]),
    default="never",
    show_default=True,
    help="Replace servers that would be opened with another template today, of a group one at a time: those "
    "whose next pod stands beside the former one, or those on nodes too, whose models are away meanwhile.",
)
@click.option("--agent-image", help="Image of the agent in new shards; by default this version's.")
@click.option("--service-account", help="ServiceAccount of new shards; by default shardpack.")
@click.option("--triton-image", help="Image of Triton in new shards (standalone).")
@store_options
@click.option("--nodes/--no-nodes", default=True, help="Watch nodes, which takes a ClusterRole.")
@talk_options
@click.pass_obj
def controller(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    /,
    *,
    mode: Literal["kserve", "standalone"],
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
    gateway: Literal["none", "nginx"],
    lease: str,
    lease_duration: float,
    identity: str | None,
    address: str,
    metrics_port: int,
    close_empty: float,
    keep_empty: bool,
    renew_servers: Literal["never", "rolling", "all"],
    agent_image: str | None,
    service_account: str | None,
    triton_image: str | None,
    nodes: bool,
    **stores: Any,
) -> Outcome:
    """Assign the TrainedModels of a namespace to shards, and open shards when those that are open are full.

    What may be opened stands in ConfigMaps labelled shardpack.dev/role=fleet, each with a scenario without
    models under the key scenario.yaml. Everything that is decided is written into the cluster; a controller
    that is stopped anywhere reads it again and goes on.
    """
    from planner.cluster import LeaseTimes, connect
    from planner.controller.loop import Controller, Settings
    from planner.controller.objects import Style
    from planner.controller.pace import Pace
    from planner.manifests.options import ManifestOptions

    if not talk.quiet and not talk.debug:
        logging.getLogger("planner").setLevel(logging.INFO)
    said = {"agent_image": agent_image, "service_account": service_account, "triton_image": triton_image}
    given: dict[str, Any] = {key: value for key, value in {**said, **stores}.items() if value is not None}
    kube = connect(kubeconfig=kubeconfig, context=context)
    settings = Settings(
        namespace=namespace or kube.namespace,
        identity=_identity(identity),
        pace=Pace(empty_s=None if keep_empty else close_empty),
        style=Style(mode=mode, options=ManifestOptions(gateway=gateway, **given), renew=renew_servers),
        lease=lease,
        times=LeaseTimes(
            duration_s=lease_duration,
            renew_within_s=lease_duration * _RENEW_SHARE,
            retry_s=lease_duration * _RETRY_SHARE,
        ),
        address=address,
        port=metrics_port,
        nodes=nodes,
    )
    running = Controller(kube, settings)
    _stop_on_signals(running)
    running.run()
    return Outcome.DONE


def _identity(given: str | None) -> str:
    """Return a name that no other process has: a pod that is restarted keeps its own."""
    base = given or os.environ.get("POD_NAME") or socket.gethostname()
    return f"{base}_{uuid4().hex[:8]}"


def _stop_on_signals(running: Controller) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.stop())
