"""``shardpack-gateway``: the stable address of a group."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
from pathlib import Path
from typing import Any

import click

from agent.errors import SettingsError
from agent.flags import Seconds
from agent.gateway.configuration import Place
from agent.gateway.loop import Gateway
from agent.gateway.metrics import metrics_text, status_document
from agent.health import Views, serve_status
from agent.logs import start_logging
from agent.metrics import package_version
from agent.watch import watch_directory

log = logging.getLogger(__name__)

_FILES = 65536
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config-dir",
    type=_FOLDER,
    default=Path("/mnt/routes"),
    show_default=True,
    help="Where the ConfigMaps with the routes are mounted.",
)
@click.option(
    "--work-dir",
    type=_FOLDER,
    default=Path("/run/shardpack"),
    show_default=True,
    help="nginx's configuration, socket and temporary files; its path has at most 80 characters.",
)
@click.option("--address", default="0.0.0.0", show_default=True, help="Where clients connect.")  # noqa: S104
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Their port.")
@click.option(
    "--direct-port",
    type=click.IntRange(1, 65535),
    default=None,
    help="Where transformers call the shards; left out, nothing listens.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=2,
    show_default=True,
    help="Worker processes of each of the two nginx.",
)
@click.option(
    "--status-address",
    default="127.0.0.1",
    show_default=True,
    help="Where /status, /metrics, /readyz and /livez are answered; 0.0.0.0 in a pod.",
)
@click.option(
    "--status-port",
    type=click.IntRange(0, 65535),
    default=9082,
    show_default=True,
    help="Their port; 0 takes a free one.",
)
@click.option(
    "--status-port-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write the status port here once it is open.",
)
@click.option(
    "--period",
    type=Seconds(0.05, 30),
    default=1.0,
    show_default=True,
    help="Seconds between two looks at routes and addresses, and the least between two reloads.",
)
@click.option(
    "--leave",
    type=Seconds(0, 300),
    default=5.0,
    show_default=True,
    help="Seconds between the signal to end and the end: not ready, and still answering.",
)
@click.option(
    "--drain",
    type=Seconds(1, 3600),
    default=25.0,
    show_default=True,
    help="Seconds that requests under way may take then.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.version_option(package_version(), prog_name="shardpack-gateway", message="%(prog)s %(version)s")
def main(**options: Any) -> None:
    """Answer for all models of a group under one address, whichever shards hold them."""
    start_logging(options["log_level"])
    try:
        run(options)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def run(options: dict[str, Any]) -> None:
    """Run a gateway until SIGTERM or SIGINT.

    Raises
    ------
    SettingsError
        It cannot run with these settings.
    """
    if options["direct_port"] == options["port"]:
        raise SettingsError("--direct-port: transformers need a port of their own, not that of --port")
    place = Place(
        address=options["address"],
        port=options["port"],
        direct_port=options["direct_port"],
        folder=str(options["work_dir"].absolute()),
        workers=options["workers"],
        connections=_most_connections(),
        # nginx would have its workers run as nobody, who cannot reach a socket in a folder of root's.
        user="root" if os.geteuid() == 0 else None,
    )
    gateway = Gateway(options["config_dir"], place, turn_s=options["period"])
    views = Views(
        status=lambda _limit, _after: json.dumps(status_document(gateway.state())).encode(),
        ready=gateway.readiness,
        alive=gateway.alive,
        metrics=metrics_text(gateway.state),
    )
    address, port, port_file = (
        options[name] for name in ("status_address", "status_port", "status_port_file")
    )
    status = serve_status(address, port, views, port_file=port_file)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: gateway.stop())
    watch_directory(options["config_dir"], gateway.hint)
    try:
        gateway.run(leave_s=options["leave"], most_s=options["drain"])
    finally:
        status.close()
    log.info("ended")


def _most_connections() -> int:
    """Return how many connections a worker may have, and raise the limit of open files to it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most // 2


if __name__ == "__main__":
    main()
