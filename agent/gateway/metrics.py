"""A gateway's metrics and its status document."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent.gateway.loop import GatewayState


def status_document(state: GatewayState) -> dict[str, object]:
    """Return what ``/status`` answers: whoever moves a model waits until it is settled there.

    A move is done when ``observedGeneration`` is that of the new routes and ``draining`` is 0: then no
    request is on its way to the shard that the model has left.
    """
    return {
        "version": 1,
        "group": state.group,
        "generation": state.generation,
        "observedGeneration": state.observed_generation,
        "models": state.models,
        "absentShards": list(state.absent),
        "draining": state.draining,
        "fault": state.fault,
    }


class _State(Collector):
    def __init__(self, state: Callable[[], GatewayState]) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        state = self._state()
        gauges = {
            "models": ("Models that are routed.", state.models),
            "absent_shards": ("Shards whose name stands for no address.", len(state.absent)),
            "draining_workers": ("Workers that end requests of former routes.", state.draining),
            "up_to_date": (
                "Whether new requests go by the mounted routes.",
                int(state.fault is None and state.observed_generation == state.generation),
            ),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"shardpack_gateway_{name}", text, value=value)
        yield CounterMetricFamily("shardpack_gateway_reloads", "Reloads of the switch.", value=state.reloads)
        failures = "Reloads that did not take effect."
        yield CounterMetricFamily("shardpack_gateway_reload_failures", failures, value=state.failures)


def metrics_text(state: Callable[[], GatewayState]) -> Callable[[], bytes]:
    """Return who answers ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(_State(state))
    return lambda: generate_latest(registry)
