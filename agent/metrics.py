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
from agent.memory import DeviceMemory
from agent.observed import NOTHING
from agent.outcomes import Downloaded, Dropped, Failed, Loaded, Outcome
from agent.status import STATES, Snapshot, device_planned_bytes

# From a tiny model's millisecond to the minutes of a large one.
_SECONDS = (0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)


class Metrics:
    """Everything that is counted.

    Parameters
    ----------
    snapshot, devices
        Asked at every scrape.
    most_models
        Above so many models only the counts by state are told, not each model's state.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        devices: Callable[[], tuple[DeviceMemory, ...]],
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
        self.registry.register(_Scrape(snapshot, devices, most_models))

    def count(self, action: Action, outcome: Outcome) -> None:
        """Count one action and what came of it."""
        self._actions.labels(type(action).__name__.lower(), _outcome(outcome)).inc()
        if isinstance(outcome, Loaded):
            self._load.observe(outcome.seconds)
        if isinstance(outcome, Downloaded):
            self._download.observe(outcome.copy.download_seconds or 0.0)
            self._downloaded.inc(outcome.copy.fetched_bytes or 0)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Scrape(Collector):
    """Gauges that are read from the agent when they are asked for."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        devices: Callable[[], tuple[DeviceMemory, ...]],
        most_models: int,
    ) -> None:
        self._snapshot = snapshot
        self._devices = devices
        self._most_models = most_models

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return nothing: without it the registry would ask for values at registration."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        snapshot = self._snapshot()
        yield _single("shardpack_agent_ready", "Whether every desired model was attempted.", snapshot.ready)
        yield _single("shardpack_agent_server_live", "Whether the model server answers.", snapshot.live)
        yield _single(
            "shardpack_agent_documents_faulty",
            "Whether the mounted documents cannot be obeyed.",
            snapshot.document_fault is not None,
        )
        yield from self._models(snapshot)
        yield from _memory(snapshot, self._devices())

    def _models(self, snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
        states = {name: state for name, (state, _) in snapshot.since.items()}
        tally = Tally(states.values())
        counts = GaugeMetricFamily("shardpack_agent_models", "Models by state.", labels=["state"])
        for state in STATES:
            counts.add_metric([state], tally[state])
        yield counts
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


def _memory(snapshot: Snapshot, devices: tuple[DeviceMemory, ...]) -> Iterator[GaugeMetricFamily]:
    capacity = GaugeMetricFamily(
        "shardpack_gpu_memory_capacity_bytes", "Total less what the driver reserves.", labels=["gpu_uuid"]
    )
    used = GaugeMetricFamily(
        "shardpack_gpu_memory_used_bytes",
        "Used by all, without the driver's reservation.",
        labels=["gpu_uuid"],
    )
    planned = GaugeMetricFamily(
        "shardpack_gpu_memory_planned_bytes", "Steady bytes of the models planned here.", labels=["gpu_uuid"]
    )
    for device in devices:
        capacity.add_metric([device.uuid], device.total_bytes - (device.reserved_bytes or 0))
        used.add_metric([device.uuid], device.used_bytes)
        planned.add_metric([device.uuid], device_planned_bytes(snapshot, device))
    yield from (capacity, used, planned)


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


def _single(name: str, text: str, value: bool) -> GaugeMetricFamily:  # noqa: FBT001  # the value of a gauge
    return GaugeMetricFamily(name, text, value=float(value))


def package_version() -> str:
    """Return the distribution's version, ``unknown`` when it is run from a source tree."""
    try:
        return version("shardpack")
    except PackageNotFoundError:
        return "unknown"
