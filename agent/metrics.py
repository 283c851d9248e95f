"""The agent's metrics: one object, its own registry, labels that are closed sets or bounded ids."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agent.actions import Action
from agent.memory import DeviceMemory, Memory
from agent.observed import NOTHING
from agent.outcomes import Downloaded, Dropped, Failed, Loaded, Outcome
from agent.status import STATES, Snapshot, device_account, update_fault

# From a tiny model's millisecond to the minutes of a large one.
_SECONDS = (0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)


class Metrics:
    """Everything that is counted.

    Parameters
    ----------
    snapshot, memory
        Asked at every scrape.
    most_models
        Above so many models only the counts by state are told, not each model's state.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        memory: Callable[[], Memory],
        most_models: int,
    ) -> None:
        # Their time series would double the number of those that tell something.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._actions = Counter(
            "shardpack_agent_actions", "Actions carried out.", ["action", "outcome"], registry=self.registry
        )
        self._load = Histogram(
            "shardpack_agent_load_duration_seconds",
            "Time of a successful load.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._download = Histogram(
            "shardpack_agent_download_duration_seconds",
            "Time of a successful download.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._downloaded = Counter(
            "shardpack_agent_downloaded_bytes", "Bytes read from models' sources.", registry=self.registry
        )
        Gauge("shardpack_build_info", "Always 1.", ["version"], registry=self.registry).labels(
            package_version()
        ).set(1)
        self.registry.register(_Scrape(snapshot, memory, most_models))

    def count(self, action: Action, outcome: Outcome) -> None:
        """Count one action and what came of it."""
        self._actions.labels(type(action).__name__.lower(), _outcome(outcome)).inc()
        if isinstance(outcome, Loaded):
            self._load.observe(outcome.seconds)
        if isinstance(outcome, Downloaded):
            self._download.observe(outcome.copy.download_seconds or 0.0)
            self._downloaded.inc(outcome.copy.fetched_bytes or 0)

    def tell_proxy(self, fault: Callable[[], str | None]) -> None:
        """Tell also whether a proxy cannot follow."""
        Gauge(
            "shardpack_agent_proxy_faulty",
            "Whether routes cannot be written, or certificates be read, so that former ones hold.",
            registry=self.registry,
        ).set_function(lambda: fault() is not None)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Scrape(Collector):
    """Gauges that are read from the agent when they are asked for."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        memory: Callable[[], Memory],
        most_models: int,
    ) -> None:
        self._snapshot = snapshot
        self._memory = memory
        self._most_models = most_models

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return nothing: without it the registry would ask for values at registration."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        snapshot = self._snapshot()
        yield _single("shardpack_agent_ready", "Whether traffic may come.", snapshot.ready)
        yield _single("shardpack_agent_server_live", "Whether the model server answers.", snapshot.live)
        yield _single(
            "shardpack_agent_documents_faulty",
            "Whether the mounted documents cannot be obeyed.",
            snapshot.document_fault is not None,
        )
        yield _single(
            "shardpack_agent_control_fallback",
            "Whether loads go over HTTP because the gRPC port does not answer.",
            snapshot.control.fault is not None,
        )
        yield from self._models(snapshot)
        memory = self._memory()
        if memory.server_resident_bytes is not None:
            yield GaugeMetricFamily(
                "shardpack_server_resident_memory_bytes",
                "Resident host memory of the server's processes.",
                value=memory.server_resident_bytes,
            )
        yield from _device_memory(snapshot, memory.devices)

    def _models(self, snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
        states = {name: state for name, (state, _) in snapshot.since.items()}
        tally = Tally(states.values())
        counts = GaugeMetricFamily("shardpack_agent_models", "Models by state.", labels=["state"])
        for state in STATES:
            counts.add_metric([state], tally[state])
        yield counts
        failed = sum(
            update_fault(target, snapshot.models.get(name, NOTHING)) is not None
            for name, target in snapshot.targets.items()
        )
        yield _single(
            "shardpack_agent_failed_updates",
            "Models that serve as before, since an update of them failed.",
            failed,
        )
        if len(states) <= self._most_models:
            each = GaugeMetricFamily(
                "shardpack_agent_model_state", "1 for the state a model is in.", labels=["model", "state"]
            )
            for name, state in sorted(states.items()):
                each.add_metric([name, state], 1)
            yield each
            yield from _model_memory(snapshot)


def _outcome(outcome: Outcome) -> str:
    match outcome:
        case Failed():
            return "failed"
        case Dropped():
            return "dropped"
        case _:
            return "done"


def _device_memory(snapshot: Snapshot, devices: tuple[DeviceMemory, ...]) -> Iterator[GaugeMetricFamily]:
    capacity = _per_device("capacity", "Total less what the driver reserves.")
    used = _per_device("used", "Used by all, without the driver's reservation.")
    planned = _per_device("planned", "Steady bytes of the models planned here.")
    foreign = _per_device("foreign", "What others than the server hold; absent where that cannot be told.")
    unattributed = _per_device(
        "unattributed", "Used beyond known foreign memory and the plan; absent where it says no fixed costs."
    )
    for device in devices:
        account, labels = device_account(snapshot, device), [device.uuid]
        capacity.add_metric(labels, device.total_bytes - (device.reserved_bytes or 0))
        used.add_metric(labels, device.used_bytes)
        planned.add_metric(labels, account.planned_bytes)
        if device.foreign_bytes is not None:
            foreign.add_metric(labels, device.foreign_bytes)
        if account.unattributed_bytes is not None:
            unattributed.add_metric(labels, account.unattributed_bytes)
    yield from (capacity, used, planned, foreign, unattributed)


def _per_device(what: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"shardpack_gpu_memory_{what}_bytes", text, labels=["gpu_uuid"])


def _model_memory(snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
    planned = GaugeMetricFamily(
        "shardpack_model_memory_planned_bytes", "Steady bytes on each device, as planned.", labels=["model"]
    )
    measured = GaugeMetricFamily(
        "shardpack_model_memory_measured_bytes", "What a device's use grew by at the load.", labels=["model"]
    )
    for name, target in sorted(snapshot.targets.items()):
        planned.add_metric([name], target.model.steady_bytes)
        copy = snapshot.models.get(name, NOTHING).installed
        if copy is not None and copy.measured_bytes is not None:
            measured.add_metric([name], copy.measured_bytes)
    yield from (planned, measured)


def _single(name: str, text: str, value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def package_version() -> str:
    """Return the distribution's version, ``unknown`` when it is run from a source tree."""
    try:
        return version("shardpack")
    except PackageNotFoundError:
        return "unknown"
