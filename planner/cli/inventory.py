"""``inventory``: what this machine has, as a part of a scenario."""

from __future__ import annotations

import socket

import click

from planner.cli.documents import print_document, print_names
from planner.cli.exitcodes import Outcome
from planner.cli.options import output_option, talk_options

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
def nvml(*, node_name: str | None, form: str) -> Outcome:
    """Read this machine's GPUs and MIG instances from NVML, with their memory."""
    from planner.inventory import inventory_document, read_nvml
    from planner.report.listings import device_names, devices_table
    from planner.scenario.catalogue import shipped_catalogue

    classes = shipped_catalogue().device_classes.values()
    found = read_nvml(node_name or socket.gethostname(), catalogue=classes)
    for uuid in found.without_instances:
        click.echo(f"{uuid} is in MIG mode and has no instance: nothing can run there", err=True)
    match form:
        case "table" | "wide":
            click.echo(devices_table(found, wide=form == "wide"))
        case "name":
            print_names(device_names(found))
        case _:
            print_document(inventory_document(found), form)
    return Outcome.DONE
