"""The command ``shardpack-agent``."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent.background import give_way
from agent.backoff import Backoff
from agent.desired import PROBE_KINDS
from agent.errors import SettingsError
from agent.flags import Seconds, name_variables, visible_devices
from agent.lanes import Lanes
from agent.logs import start_logging
from agent.metrics import package_version
from agent.servers.headers import read_headers
from agent.servers.http import Timeouts
from agent.service import fetch_only, run
from agent.settings import LONGEST_POLL_S, Settings, default_state_dir
from agent.storage import Limits, Reach

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config-dir",
    type=_FOLDER,
    default=Path("/mnt/configs"),
    show_default=True,
    help="Where placement documents (*.json) or models.json are mounted.",
)
@click.option(
    "--model-dir",
    type=_FOLDER,
    default=Path("/mnt/models"),
    show_default=True,
    help="The server's model repository.",
)
@click.option(
    "--state-dir",
    type=_FOLDER,
    default=None,
    help="The agent's own files, on the same mount as the models and not among them.  "
    "[default: .shardpack/<name> beside --model-dir]",
)
@click.option(
    "--component-port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="The server's HTTP port on this host.",
)
@click.option("--server-url", default=None, help="The server's address, in place of --component-port.")
@click.option(
    "--server-kind",
    type=click.Choice(["auto", "triton", "mlserver", "kserve"]),
    default="auto",
    show_default=True,
    help="Which server it is: auto asks it, and until it answers takes what the documents say.",
)
@click.option(
    "--server-grpc-url",
    default=None,
    help="Triton's gRPC port, as host:port or grpcs://host:port, for loads and unloads: over HTTP each of "
    "them holds up the requests of others.",
)
@click.option(
    "--server-metrics-url",
    default=None,
    help="Triton's metrics, as http://127.0.0.1:8002/metrics: they tell what is used of its GPUs where the "
    "agent has none and so no NVML, as in a pod.",
)
@click.option(
    "--server-ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    default=None,
    help="Certificates that an https or grpcs server is judged by.  [default: the system's]",
)
@click.option(
    "--server-header",
    "server_headers",
    multiple=True,
    metavar="NAME=file:PATH|env:VARIABLE",
    help="A header of every call to the server, as its restricted endpoints need; repeatable.",
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
    "--visible-devices",
    default=visible_devices,
    help="The server's CUDA_VISIBLE_DEVICES, to know its ordinals; empty: none.  [default: the agent's own]",
)
@click.option(
    "--parallel-downloads",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Downloads at a time.",
)
@click.option(
    "--streams-per-download",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Objects of one model, or parts of a large one, that are fetched at a time.",
)
@click.option(
    "--compare-md5/--no-compare-md5",
    default=True,
    show_default=True,
    help="Compare contents with the MD5s that their source tells, as S3's ETags; it takes a core 2 s a GB.",
)
@click.option(
    "--parallel-loads",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Calls to the server at a time; without gRPC keep it below its HTTP threads (Triton: 8).",
)
@click.option(
    "--loads-per-device",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Loads at a time on one GPU.",
)
@click.option(
    "--load-timeout",
    type=Seconds(1),
    default=900.0,
    show_default=True,
    help="Seconds that one load may take.",
)
@click.option(
    "--unload-timeout",
    type=Seconds(1),
    default=120.0,
    show_default=True,
    help="Seconds that one unload may take.",
)
@click.option(
    "--control-timeout",
    type=Seconds(0.1),
    default=10.0,
    show_default=True,
    help="Seconds that the server's index or metadata may take.",
)
@click.option(
    "--python-gpus",
    type=click.Choice(["told", "shown"]),
    default="told",
    show_default=True,
    help="Triton's python models: told their GPUs, which their code may ignore, or shown no others.",
)
@click.option(
    "--ready-when",
    type=click.Choice(["attempted", "loaded"]),
    default="attempted",
    show_default=True,
    help="When traffic may come to a new server process: once every model was attempted, even if some "
    "failed, or not before every one is loaded.",
)
@click.option(
    "--probe",
    type=click.Choice(PROBE_KINDS),
    default="ready",
    show_default=True,
    help="How a model is looked at after its load, where its document does not say: by its ready endpoint "
    "or also by a test inference (its probe.json, else zeros). One that fails is unloaded and loaded again.",
)
@click.option(
    "--probe-period",
    type=Seconds(0),
    default=0.0,
    show_default=True,
    help="Seconds between two such looks at a loaded model; 0 for none.",
)
@click.option(
    "--poll-period",
    type=Seconds(0.05, LONGEST_POLL_S),
    default=2.0,
    show_default=True,
    help="Seconds between two looks at the server and the documents when nothing happens.",
)
@click.option(
    "--retry-base",
    type=Seconds(0.01),
    default=10.0,
    show_default=True,
    help="Seconds of the first wait after a refusal; a stumble waits a tenth of it.",
)
@click.option(
    "--max-model-bytes",
    type=click.IntRange(1),
    default=1 << 40,
    show_default=True,
    help="Bytes that one model may be at most, unpacked.",
)
@click.option(
    "--max-disk-bytes",
    type=click.IntRange(1),
    default=None,
    help="Bytes that models and what is kept of former ones may take; what no model uses goes first.  "
    "[default: all but the reserve]",
)
@click.option(
    "--disk-reserve",
    type=click.IntRange(0),
    default=None,
    help="Bytes that stay free on the models' filesystem.  [default: a twentieth of it, at most 1 GiB]",
)
@click.option(
    "--shared-cache",
    type=_FOLDER,
    default=None,
    help="A folder that several agents share, so that what one has fetched the others need not fetch: "
    "on a volume of the node, outside of --model-dir and --state-dir.",
)
@click.option(
    "--shared-cache-bytes",
    type=click.IntRange(1),
    default=None,
    help="Bytes that the shared cache may take; what no agent has a link to goes first.  "
    "[default: all but the reserve]",
)
@click.option(
    "--pvc-dir",
    type=_FOLDER,
    default=Path("/mnt/pvc"),
    show_default=True,
    help="Where the claims of pvc:// are mounted, each under its name.",
)
@click.option(
    "--file-dir",
    "file_dirs",
    type=_FOLDER,
    multiple=True,
    help="The only folder that file:// may read; repeatable.  [default: all but the system's]",
)
@click.option(
    "--storage-config",
    type=_FOLDER,
    default=None,
    help="Where KServe's Secret storage-config is mounted; without it the environment has the credentials.",
)
@click.option(
    "--metrics-models",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Above so many models there is no metric a model.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option(
    "--fetch-only",
    is_flag=True,
    help="Fetch every model, place it in the repository, and end: the step before a server starts that loads "
    "its whole repository at once (Triton: --load-model=*), which is far faster than one load after another.",
)
@click.option(
    "--fetch-timeout",
    type=Seconds(1),
    default=1800.0,
    show_default=True,
    help="Seconds after which --fetch-only ends with what is there.",
)
@click.option(
    "--port",
    "proxy_port",
    type=click.IntRange(1, 65535),
    default=None,
    help="Port of a proxy (nginx) to the server that answers for models that are not loaded; KServe's 9081.",
)
@click.option(
    "--proxy-address",
    default="127.0.0.1",
    show_default=True,
    help="Where the proxy listens; 0.0.0.0 in a pod.",
)
@click.option("--enable-puller", is_flag=True, hidden=True, help="KServe's flag: always on here.")
@click.version_option(package_version(), prog_name="shardpack-agent", message="%(prog)s %(version)s")
def main(**options: Any) -> None:
    """Load and unload models on the server beside it until it holds what the mounted documents ask for."""
    start_logging(options["log_level"])
    give_way()
    # What it keeps is data without cycles; looking through it for garbage takes a tenth of a start.
    gc.set_threshold(100_000)
    try:
        settings = _settings(options)
        if options["fetch_only"]:
            fetch_only(settings, most_s=options["fetch_timeout"])
        else:
            run(settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


name_variables(main, prefix="SHARDPACK_AGENT")


def _settings(options: Mapping[str, Any]) -> Settings:
    return Settings(
        config_dir=options["config_dir"],
        model_dir=options["model_dir"],
        state_dir=options["state_dir"] or default_state_dir(options["model_dir"]),
        server_url=options["server_url"] or f"http://127.0.0.1:{options['component_port']}",
        server_grpc_url=options["server_grpc_url"],
        server_metrics_url=options["server_metrics_url"],
        server_kind=None if options["server_kind"] == "auto" else options["server_kind"],
        server_ca=options["server_ca"],
        server_headers=read_headers(options["server_headers"]),
        status_address=options["status_address"],
        status_port=options["status_port"],
        status_port_file=options["status_port_file"],
        proxy_address=options["proxy_address"],
        proxy_port=options["proxy_port"],
        visible_devices=options["visible_devices"],
        lanes=Lanes(
            downloads=options["parallel_downloads"],
            server=options["parallel_loads"],
            loads_per_device=options["loads_per_device"],
        ),
        timeouts=Timeouts(
            control_s=options["control_timeout"],
            load_s=options["load_timeout"],
            unload_s=options["unload_timeout"],
        ),
        limits=Limits(
            total_bytes=options["max_model_bytes"],
            reserve_bytes=options["disk_reserve"],
            disk_bytes=options["max_disk_bytes"],
        ),
        reach=Reach(
            streams=options["streams_per_download"],
            compare_md5=options["compare_md5"],
            pvc_dir=options["pvc_dir"],
            file_dirs=options["file_dirs"],
            storage_config=options["storage_config"],
        ),
        shared_cache=options["shared_cache"],
        shared_cache_bytes=options["shared_cache_bytes"],
        python_gpus=options["python_gpus"],
        ready_when=options["ready_when"],
        probe=options["probe"],
        probe_period_s=options["probe_period"],
        poll_s=options["poll_period"],
        stumble=Backoff(base_s=options["retry_base"] / 10, cap_s=60.0),
        refusal=Backoff(base_s=options["retry_base"], cap_s=600.0),
        metrics_models=options["metrics_models"],
    )


if __name__ == "__main__":
    main()
