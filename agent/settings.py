"""Everything that can be set about an agent, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from agent.backoff import Backoff
from agent.desired import ProbeKind
from agent.errors import SettingsError
from agent.lanes import Lanes
from agent.servers.headers import NO_HEADERS, Headers
from agent.servers.http import Timeouts
from agent.servers.port import ServerKind
from agent.storage import Limits, Reach, SharedCache, check_apart, check_shared

ReadyWhen = Literal["attempted", "loaded"]
PythonGpus = Literal["told", "shown"]
LONGEST_POLL_S = 60.0
"""The loop shows that it turns once a period, and a liveness probe gives up on it after two minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one agent runs.

    Parameters
    ----------
    config_dir
        Where the documents are mounted.
    model_dir
        The server's model repository.
    state_dir
        The agent's own files: on the filesystem of ``model_dir`` and not inside it.
    server_url, server_grpc_url
        The server's HTTP address; its gRPC address for loads and unloads, None sends them over HTTP.
    server_metrics_url
        Triton's metrics, which tell the devices' memory where there is no NVML; None asks for none.
    server_kind
        Which kind it is; None asks.
    server_ca, server_headers
        Certificates that it is judged by, None for the system's; headers of every call to it.
    status_address, status_port
        Where probes, metrics and status are answered; port 0 takes a free one.
    status_port_file
        Where the port is written once it is open.
    proxy_address, proxy_port
        Where the proxy to the server listens; port None is no proxy.
    visible_devices
        The server's ``CUDA_VISIBLE_DEVICES``: ordinals, UUIDs or their beginnings; None sees all.
    lanes, timeouts, limits
        What runs side by side, how long a call may take, what models may be.
    reach
        How models' sources are reached.
    shared_cache, shared_cache_bytes
        A folder of fetched objects that several agents share, apart from the two above, and what it may be at
        most; None where they share nothing, and for as much as its disk's reserve leaves.
    poll_s
        Between two looks at the server and at the documents when nothing happens.
    settle_s
        Between two looks while an unload is awaited; up to four times that while the server does not answer.
    stumble, refusal, dead_end
        Waits after what may pass soon (no answer, a broken transfer), after what hardly will (a refusal), and
        after what will not as long as request, files and server are the same.
    ready_when
        What a server process waits for before traffic may come to it: every model was ``attempted``, or every
        one is ``loaded``. What fails later ends no readiness.
    python_gpus
        Whether a python model on Triton is ``told`` its GPUs, or its processes are ``shown`` no others.
    probe, probe_period_s
        How a model is looked at after its load where its document does not say; seconds between two such
        looks at one model, 0 for none but that after the load.
    metrics_models
        Above so many models there are no metrics a model.
    """

    config_dir: Path
    model_dir: Path
    state_dir: Path
    server_url: str
    server_grpc_url: str | None = None
    server_metrics_url: str | None = None
    server_kind: ServerKind | None = None
    server_ca: Path | None = None
    server_headers: Headers = NO_HEADERS
    status_address: str = "127.0.0.1"
    status_port: int = 9082
    status_port_file: Path | None = None
    proxy_address: str = "127.0.0.1"
    proxy_port: int | None = None
    visible_devices: str | None = None
    lanes: Lanes = field(default_factory=Lanes)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    reach: Reach = field(default_factory=Reach)
    shared_cache: Path | None = None
    shared_cache_bytes: int | None = None
    poll_s: float = 2.0
    settle_s: float = 0.1
    stumble: Backoff = field(default_factory=lambda: Backoff(base_s=1.0, cap_s=60.0))
    refusal: Backoff = field(default_factory=lambda: Backoff(base_s=10.0, cap_s=600.0))
    dead_end: Backoff = field(default_factory=lambda: Backoff(base_s=3600.0, cap_s=3600.0))
    ready_when: ReadyWhen = "attempted"
    python_gpus: PythonGpus = "told"
    probe: ProbeKind = "ready"
    probe_period_s: float = 0.0
    metrics_models: int = 1000

    @property
    def patience_s(self) -> float:
        """Seconds after which a look at the server is overdue: several periods, and what it may take itself.

        It makes up to four calls, each of which may take its time twice.
        """
        return 3 * self.poll_s + 4 * (self.timeouts.connect_s + 2 * self.timeouts.control_s)

    @property
    def shared(self) -> SharedCache | None:
        """The folder that several agents share; None where there is none."""
        if self.shared_cache is None:
            return None
        return SharedCache(self.shared_cache, replace(self.limits, disk_bytes=self.shared_cache_bytes))

    def __post_init__(self) -> None:
        if not _is_address(self.server_url):
            raise SettingsError("the server's URL: write http://host:port, without user or query")
        if self.server_metrics_url is not None and not _is_address(self.server_metrics_url):
            raise SettingsError(
                "the URL of the server's metrics: write http://host:port/metrics, without user or query"
            )
        if not (0 < self.poll_s <= LONGEST_POLL_S and 0 < self.settle_s <= LONGEST_POLL_S):
            raise SettingsError(f"periods must be above zero and at most {LONGEST_POLL_S:g} seconds")
        check_apart(self.model_dir, self.state_dir)
        if self.shared_cache is not None:
            check_shared(self.shared_cache, self.model_dir, self.state_dir)
        lanes = self.lanes
        if min(lanes.downloads, lanes.files, lanes.server, lanes.loads_per_device) < 1:
            raise SettingsError("at least one download and one load must be allowed at a time")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # judged when it is asked for
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain


def default_state_dir(model_dir: Path) -> Path:
    """Return a folder beside the model repository: on its filesystem, and out of the server's sight."""
    resolved = model_dir.resolve()
    return resolved.parent / ".shardpack" / resolved.name
