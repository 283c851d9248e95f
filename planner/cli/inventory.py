"""``inventory``: what this machine has, as a part of a scenario."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import click

from planner.cli.documents import print_document
from planner.cli.exitcodes import Outcome
from planner.cli.options import output_option, talk_options
from planner.report.text import table
from planner.units import format_bytes

if TYPE_CHECKING:
    from planner.inventory import Inventory

_EPILOG = """\b
Examples:
  shardpack inventory nvml > fleet.yaml      # then, in a scenario: include: [fleet.yaml]
  shardpack inventory nvml -o table

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
@output_option("yaml", "json", "table", "name")
@talk_options
def nvml(*, node_name: str | None, form: str) -> Outcome:
    """Read this machine's GPUs and MIG instances from NVML, with their memory."""
    from planner.inventory import inventory_document, read_nvml
    from planner.scenario.catalogue import shipped_catalogue

    classes = shipped_catalogue().device_classes.values()
    found = read_nvml(node_name or socket.gethostname(), catalogue=classes)
    for uuid in found.without_instances:
        click.echo(f"{uuid} is in MIG mode and has no instance: nothing can run there", err=True)
    match form:
        case "table":
            click.echo(_devices_table(found))
        case "name":
            for position, device in enumerate(found.node.devices):
                click.echo(device.uuid or f"{found.node.name}/{position}")
        case _:
            print_document(inventory_document(found), form)
    return Outcome.DONE


def _devices_table(found: Inventory) -> str:
    classes = {item.name: item for item in found.device_classes}
    rows = []
    for position, device in enumerate(found.node.devices):
        kind = classes[device.device_class]
        total = kind.memory_bytes if device.memory_bytes is None else device.memory_bytes
        reserved = kind.reserved_bytes if device.reserved_bytes is None else device.reserved_bytes
        sizes = (total, reserved, device.foreign_bytes)
        rows.append((str(position), device.uuid or "-", kind.name, *map(format_bytes, sizes)))
    return table(("device", "uuid", "class", "total", "reserved", "foreign"), rows, right=(0, 3, 4, 5))
