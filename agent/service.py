"""One agent, put together and run: beside a server, or before the server starts."""

from __future__ import annotations

import logging
import signal
from collections import Counter as Tally

from agent.actions import Action
from agent.device_room import DeviceRoom
from agent.documents import Documents
from agent.errors import ServerError, SettingsError, UnansweredError, UnreachableError
from agent.health import Views, serve_status
from agent.lock import exclusive
from agent.loop import Loop
from agent.memory import Devices, MemoryView, open_nvml
from agent.metrics import Metrics
from agent.outcomes import Outcome
from agent.prober import Prober
from agent.processes import ProcessView
from agent.proxy import Proxy, ProxySettings
from agent.repository import Repository
from agent.server_metrics import ServerMetrics
from agent.servers.detect import AnyServer
from agent.servers.grpc_control import GrpcControl
from agent.servers.http import Address, Http
from agent.servers.port import ModelServer
from agent.settings import Settings
from agent.status import status_text
from agent.watch import watch_directory

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Run an agent until SIGTERM or SIGINT.

    Raises
    ------
    SettingsError
        It cannot run with these settings.
    """
    with exclusive(settings.state_dir):
        _run(settings)


def _run(settings: Settings) -> None:
    nvml = open_nvml(settings.visible_devices)
    loop = wire(settings, visible=None if nvml is None else nvml.uuids)
    if nvml is not None:
        loop.room = DeviceRoom(nvml.memory)
    devices: Devices | None = nvml or _told_by_server(settings, loop)
    memory = MemoryView(devices, loop.clock.monotonic, processes=ProcessView(settings.server_url))
    metrics = Metrics(snapshot=loop.snapshot, memory=memory.memory, most_models=settings.metrics_models)

    def ended(action: Action, outcome: Outcome) -> None:
        metrics.count(action, outcome)
        memory.expire()

    loop.count = ended
    _prepare(loop)
    proxy = _start_proxy(settings, loop)
    if proxy is not None:
        metrics.tell_proxy(lambda: proxy.fault)
    views = _views(loop, memory, metrics)
    port_file = settings.status_port_file
    status = serve_status(settings.status_address, settings.status_port, views, port_file=port_file)
    started = {"port": status.port, "server": settings.server_url, "models": str(settings.model_dir)}
    log.info("started", extra=started)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: loop.stop())
    watch_directory(settings.config_dir, loop.hint)
    _start_prober(loop, settings.probe_period_s)
    loop.run()
    if proxy is not None:
        proxy.stop()
    status.close()
    log.info("ended")


def _told_by_server(settings: Settings, loop: Loop) -> ServerMetrics | None:
    """Return the server's own view of its devices; loads are not judged by it, it is seconds old."""
    if settings.server_metrics_url is None:
        return None

    def ordinals() -> dict[str, int]:
        desired = loop.snapshot().desired
        return {cost.uuid: cost.index for cost in desired.fixed if cost.uuid} if desired else {}

    return ServerMetrics(settings.server_metrics_url, ordinals)


def _start_prober(loop: Loop, period_s: float) -> None:
    if period_s > 0:
        Prober(period_s=period_s, names=loop.loaded, probe=loop.find_fault, failed=loop.report_fault).start()


def fetch_only(settings: Settings, *, most_s: float) -> None:
    """Get every model into the repository before its server starts.

    What could not be fetched is left to the agent that runs beside the server: that is no failure of this.

    Parameters
    ----------
    settings
        Those of the agent that will run beside the server.
    most_s
        Seconds after which it ends with what is there.

    Raises
    ------
    SettingsError
        It cannot run with these settings, or the server answers already.
    """
    with exclusive(settings.state_dir):
        nvml = open_nvml(settings.visible_devices)
        loop = wire(settings, visible=None if nvml is None else nvml.uuids)
        _refuse_answering(loop.server, settings.server_url)
        _prepare(loop, server_absent=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: loop.stop())
        started_s = loop.clock.monotonic()
        complete = loop.fetch(most_s=most_s)
        states = Tally(str(state) for state, _ in loop.snapshot().since.values())
        seconds = round(loop.clock.monotonic() - started_s, 1)
        text = "fetched" if complete else "ended before everything was fetched"
        log.info(text, extra={"seconds": seconds, **states})


def _refuse_answering(server: ModelServer, url: str) -> None:
    """Refuse to go on beside a server: whatever answers on its port may hold the files."""
    try:
        answers = f"as {server.info().kind}"
    except UnansweredError as error:
        raise SettingsError(f"--fetch-only: somebody listens at {url}, and is only slow: {error}") from error
    except UnreachableError:
        return
    except ServerError as error:
        answers = f"and not as a model server: {error}"
    raise SettingsError(f"--fetch-only: {url} answers already, {answers}")


def _prepare(loop: Loop, *, server_absent: bool = False) -> None:
    try:
        loop.prepare(server_absent=server_absent)
    except OSError as error:
        raise SettingsError(f"what an earlier run left cannot be taken up: {error}") from error


def wire(settings: Settings, *, visible: tuple[str, ...] | None) -> Loop:
    """Return a loop with everything it works with."""
    documents = Documents(settings.config_dir, settings.state_dir)
    repository = Repository(
        settings.model_dir, settings.state_dir, settings.limits, settings.reach, settings.shared
    )
    return Loop(
        settings=settings,
        server=_server(settings, documents),
        repository=repository,
        documents=documents,
        visible=visible,
    )


def _server(settings: Settings, documents: Documents) -> AnyServer:
    target, ca, headers = settings.server_grpc_url, settings.server_ca, settings.server_headers
    return AnyServer(
        Http(
            Address(url=settings.server_url, ca=ca, headers=headers),
            connections=settings.lanes.server + 1,  # one more for the looks at the index
            timeouts=settings.timeouts,
        ),
        grpc=None if target is None else GrpcControl(target, ca=ca, headers=headers),
        kind=settings.server_kind,
        runtime=lambda: documents.desired.runtime if documents.desired else None,
        shows_gpus=settings.python_gpus == "shown",
    )


def _views(loop: Loop, memory: MemoryView, metrics: Metrics) -> Views:
    return Views(
        status=lambda limit, after: status_text(loop.snapshot(), memory.memory(), limit=limit, after=after),
        ready=loop.readiness,
        alive=loop.alive,
        metrics=metrics.text,
    )


def _start_proxy(settings: Settings, loop: Loop) -> Proxy | None:
    if settings.proxy_port is None:
        return None
    proxy = Proxy(
        ProxySettings(
            address=settings.proxy_address,
            port=settings.proxy_port,
            server_url=settings.server_url,
            folder=settings.state_dir.resolve() / "proxy",
            server_ca=settings.server_ca,
        ),
        loop.snapshot,
    )
    proxy.start()
    return proxy
