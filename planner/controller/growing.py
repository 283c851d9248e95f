"""A gateway that mounts too few documents: what makes it mount more. Nothing else of it changes."""

from __future__ import annotations

from collections.abc import Iterable

from planner.controller.views import ShardView
from planner.controller.writes import Write, patch


def mounting(view: ShardView, volume: str, names: Iterable[str]) -> Write | None:
    """Return what makes the pods of a Deployment mount ConfigMaps; None if they do.

    It is another pod template: the pods are replaced one after the other, as the Deployment's strategy says.
    A shard's never become so many: what its ``models.json`` has room for takes a few of them.

    Parameters
    ----------
    view
        The object as it is.
    volume
        The one that projects them.
    names
        All that should be mounted, whether they exist or not.
    """
    here = next((item for item in view.volumes if item["name"] == volume), None)
    lacking = sorted(set(names) - view.mounted(volume))
    if here is None or not lacking:
        return None
    more = [{"configMap": {"name": name, "optional": True}} for name in lacking]
    projected = {**here["projected"], "sources": [*here["projected"]["sources"], *more]}
    volumes = [{**item, "projected": projected} if item is here else dict(item) for item in view.volumes]
    spec = {"template": {"spec": {"volumes": volumes}}}
    return patch("Deployment", view.name, {"spec": spec}, resource_version=view.resource_version)
