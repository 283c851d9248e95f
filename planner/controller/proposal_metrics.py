"""The figures of the proposal that was published last, as metrics.

The job that made it is gone before anybody scrapes it. The controller sees the ConfigMap anyway, as all of
its namespace, and is scraped: nothing has to be pushed, and no gateway for that has to run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from operator import attrgetter

from prometheus_client import CollectorRegistry, Gauge

from planner.controller.proposal_document import NAME, ROLE_PROPOSAL, read_figures
from planner.controller.views import LABEL_ROLE, ConfigMapView

_log = logging.getLogger(__name__)

_GAUGES = {
    "at": ("timestamp_seconds", "When the cluster was planned last, as seconds since 1970."),
    "cost_now": ("cost_now_usd_per_hour", "What the group's shards cost as they stood."),
    "cost": ("cost_usd_per_hour", "What the proposed plan costs."),
    "bound": ("lower_bound_usd_per_hour", "No plan that places as much costs less."),
    "moves": ("moves", "Replicas that the proposed plan moves."),
    "shards_opened": ("shards_opened", "Shards that the proposed plan opens."),
    "shards_closed": ("shards_closed", "Shards that the proposed plan closes."),
    "unplaced": ("unplaced_replicas", "Replicas without a place in the proposed plan."),
    "broken": ("broken_rules", "Rules that what stands breaks, by what was measured."),
}


class ProposalMetrics:
    """Gauges by group; none while nothing is published.

    Parameters
    ----------
    registry
        Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauges = {
            field: Gauge(f"shardpack_proposal_{name}", text, ["group"], registry=registry)
            for field, (name, text) in _GAUGES.items()
        }
        self._seen: ConfigMapView | None = None

    def look(self, config_maps: Mapping[str, ConfigMapView]) -> None:
        """Take the figures of the proposal, if it is another than before."""
        view = config_maps.get(NAME)
        if view is not None and view.labels.get(LABEL_ROLE) != ROLE_PROPOSAL:
            view = None
        if view is self._seen:
            return
        self.forget()
        self._seen = view
        try:
            figures = () if view is None else read_figures(view.data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("ConfigMap %s is no proposal: %s", NAME, error)
            return
        for item in figures:
            for field, gauge in self._gauges.items():
                value = attrgetter(field)(item)
                if value is not None:
                    gauge.labels(item.group).set(value)

    def forget(self) -> None:
        """Say nothing any more."""
        self._seen = None
        for gauge in self._gauges.values():
            gauge.clear()
