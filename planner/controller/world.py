"""What was seen of the cluster last, and what has changed since it was looked at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from planner.controller.views import (
    ConfigMapView,
    ModelView,
    NodeView,
    Object,
    PodView,
    ShardView,
    read_config_map,
    read_model,
    read_node,
    read_pod,
    read_shard,
)
from planner.manifests.names import LABEL_SHARD

View = ModelView | ConfigMapView | ShardView | PodView | NodeView

_READERS: Final[Mapping[str, Callable[[Object], View]]] = {
    "TrainedModel": read_model,
    "ConfigMap": read_config_map,
    "InferenceService": read_shard,
    "Deployment": read_shard,
    "Service": read_shard,
    "PodDisruptionBudget": read_shard,
    "Pod": read_pod,
    "Node": read_node,
}

KINDS = tuple(_READERS)
"""The kinds of objects that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An object that is not as it was; ``before`` or ``after`` is None where it was not, or is not, there."""

    kind: str
    name: str
    before: Any
    after: Any


class World:
    """The objects of a namespace, and the nodes, by kind and name.

    ``serving`` counts the pods of each transformer that Services lead to, by group and name.
    """

    def __init__(self) -> None:
        self.models: dict[str, ModelView] = {}
        self.config_maps: dict[str, ConfigMapView] = {}
        self.inference_services: dict[str, ShardView] = {}
        self.deployments: dict[str, ShardView] = {}
        self.services: dict[str, ShardView] = {}
        self.budgets: dict[str, ShardView] = {}
        self.pods: dict[str, PodView] = {}
        self.nodes: dict[str, NodeView] = {}
        self.serving: Counter[tuple[str, str]] = Counter()
        self._of: dict[str, dict[str, Any]] = {
            "TrainedModel": self.models,
            "ConfigMap": self.config_maps,
            "InferenceService": self.inference_services,
            "Deployment": self.deployments,
            "Service": self.services,
            "PodDisruptionBudget": self.budgets,
            "Pod": self.pods,
            "Node": self.nodes,
        }
        self._by_shard: dict[str, dict[str, ConfigMapView]] = defaultdict(dict)

    def maps_of(self, shard: str) -> Iterator[ConfigMapView]:
        """Yield the ConfigMaps that are labelled as a shard's, whoever wrote them."""
        yield from self._by_shard.get(shard, {}).values()

    def see(self, kind: str, item: Object) -> Change | None:
        """Take an object as it is now; returns what changed, None where it is older or the same."""
        after: Any = _READERS[kind](item)
        known = self._of[kind]
        before = known.get(after.name)
        if before == after or _is_older(after, before):
            return None
        known[after.name] = after
        self._count(before, after)
        if kind == "ConfigMap":
            self._file(before, after)
        return Change(kind=kind, name=after.name, before=before, after=after)

    def lose(self, kind: str, name: str, uid: str = "") -> Change | None:
        """Take note that an object is gone; with a uid only that one, and not its successor."""
        before = self._of[kind].get(name)
        if before is None or (uid and getattr(before, "uid", uid) != uid):
            return None
        del self._of[kind][name]
        self._count(before, None)
        if kind == "ConfigMap":
            self._file(before, None)
        return Change(kind=kind, name=name, before=before, after=None)

    def _count(self, before: View | None, after: View | None) -> None:
        for view, change in ((before, -1), (after, 1)):
            if isinstance(view, PodView) and view.transformer is not None and view.serves:
                self.serving[view.transformer] += change

    def replace(self, kind: str, items: Iterable[Object]) -> list[Change]:
        """Take all objects of a kind as a list told them; returns what changed."""
        found = list(items)
        names = {item["metadata"]["name"] for item in found}
        gone = [self.lose(kind, name) for name in sorted(self._of[kind].keys() - names)]
        seen = [self.see(kind, item) for item in found]
        return [change for change in (*gone, *seen) if change is not None]

    def _file(self, before: ConfigMapView | None, after: ConfigMapView | None) -> None:
        """Note a ConfigMap under the shard that it is labelled with."""
        if before is not None and LABEL_SHARD in before.labels:
            here = self._by_shard[before.labels[LABEL_SHARD]]
            del here[before.name]
            if not here:
                del self._by_shard[before.labels[LABEL_SHARD]]
        if after is not None and LABEL_SHARD in after.labels:
            self._by_shard[after.labels[LABEL_SHARD]][after.name] = after


def _is_older(after: View, before: View | None) -> bool:
    """Return whether a view is of an earlier moment than the one that is known.

    What a write answered may come before the watch tells what was before it. Resource versions are compared
    as numbers, which Kubernetes allows clients to do within one resource since 1.35; where they are none,
    what comes last counts.
    """
    new, old = getattr(after, "resource_version", ""), getattr(before, "resource_version", "")
    same = getattr(after, "uid", "") == getattr(before, "uid", None)
    return same and new.isdigit() and old.isdigit() and int(new) < int(old)
