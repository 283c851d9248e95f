"""``inventory``: what this machine or a cluster has, as a part of a scenario."""

from __future__ import annotations

import socket

import click

from planner.cli.documents import print_document, print_names
from planner.cli.exitcodes import Outcome
from planner.cli.options import Talk, cluster_options, output_option, talk_options
from planner.errors import Fault, InputError, InvalidError

_EPILOG = """\b
Examples:
  shardpack inventory nvml > fleet.yaml      # then, in a scenario: include: [fleet.yaml]
  shardpack inventory nvml -o table
  shardpack inventory nvml -o wide                       # with driver, product and MIG

What is used on a GPU beside the driver's reservation counts as foreign and is never planned on, so ask
while no shard of yours runs there. Memory is in bytes with binary suffixes (1Gi is 2^30 bytes).
"""


@click.group()
@talk_options
def inventory() -> None:
    """Read what exists and write it as a part of a scenario."""


@inventory.command(epilog=_EPILOG)
@click.option(
    "--node-name", metavar="NAME", help="What the node is called; by default this machine's host name."
)
@output_option(
    wide="free memory, product, MIG profile, the GPU that an instance is cut from, node and driver",
    name="the devices (device/UUID)",
    default="yaml",
)
@talk_options
@click.pass_obj
def nvml(talk: Talk, *, node_name: str | None, form: str) -> Outcome:
    """Read this machine's GPUs and MIG instances from NVML, with their memory."""
    from planner.inventory import inventory_document, read_nvml
    from planner.report.listings import device_names, devices_table
    from planner.scenario.catalogue import shipped_catalogue

    classes = shipped_catalogue().device_classes.values()
    found = read_nvml(node_name or socket.gethostname(), catalogue=classes)
    for uuid in () if talk.quiet else found.without_instances:
        click.echo(f"{uuid} is in MIG mode and has no instance: nothing can run there", err=True)
    match form:
        case "table" | "wide":
            click.echo(devices_table(found, wide=form == "wide"))
        case "name":
            print_names(device_names(found))
        case _:
            print_document(inventory_document(found), form)
    return Outcome.DONE


_KUBE_EPILOG = """\b
Examples:
  shardpack inventory kube > fleet.yaml      # then, in a scenario: include: [fleet.yaml]
  shardpack inventory kube -l pool=gpu --context prod -o table
  shardpack inventory kube --tolerate dedicated   # nodes with the taint "dedicated", too

What other pods than shards of yours request is taken off, and so many devices are left out as other pods
were given: Kubernetes does not say which. Nodes that are not ready, cordoned or tainted are left out. All
that is left out is told on stderr. Kubernetes knows no UUIDs and no sizes beside NVIDIA's labels: where the
catalogue does not know a GPU, run inventory nvml on its node.
"""


@inventory.command(epilog=_KUBE_EPILOG)
@click.option("-l", "--selector", "labels", metavar="LABELS", help="Only nodes with these labels.")
@click.option(
    "--tolerate",
    "tolerated",
    metavar="KEY",
    multiple=True,
    help="A taint that keeps no shard away; repeatable.",
)
@cluster_options
@output_option(wide="zone, pods and labels", name="the nodes (node/NAME)", default="yaml")
@talk_options
@click.pass_obj
def kube(  # noqa: PLR0913 - one parameter an option
    talk: Talk,
    *,
    labels: str | None,
    tolerated: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    form: str,
) -> Outcome:
    """Read a cluster's nodes: what is left on them for shards, and their GPUs and MIG instances."""
    from planner.cluster import connect
    from planner.inventory import fleet_document, read_kube
    from planner.report.listings import nodes_table
    from planner.scenario.catalogue import shipped_catalogue

    classes = shipped_catalogue().device_classes.values()
    cluster = connect(kubeconfig=kubeconfig, context=context)
    try:
        found = read_kube(cluster, catalogue=classes, labels=labels, tolerated=tolerated)
    except InvalidError as error:  # all else that is sent is ours
        raise InputError([Fault(path="--selector", message=str(error))]) from error
    for remark in () if talk.quiet else found.remarks:
        click.echo(f"{remark.node}: {remark.text}", err=True)
    if not (found.nodes or talk.quiet):
        click.echo("there is no node that shards may go to", err=True)
    match form:
        case "table" | "wide":
            click.echo(nodes_table(found.nodes, wide=form == "wide"))
        case "name":
            print_names(f"node/{node.name}" for node in found.nodes)
        case _:
            print_document(fleet_document(found.nodes, found.device_classes), form)
    return Outcome.DONE
