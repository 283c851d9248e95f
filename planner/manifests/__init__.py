"""A plan as Kubernetes objects: pure functions from (plan, scenario) to dicts to YAML text.

Equal plans give equal bytes: nothing here knows the time, the plan's hash or the order in which things were
found. Every shard has a folder of its own, so a plan that changes one model changes only the files of its
shards. ``directory`` alone touches the disk.

Two things the objects rely on and cannot ask for themselves: they are applied server-side, because
``kubectl apply`` without it copies every object into an annotation of at most 256 KiB, and what is no longer
written is pruned, because a ConfigMap that stays behind contradicts those that were rewritten.
"""

from planner.manifests.directory import write_manifests
from planner.manifests.model_config import config_map_usage
from planner.manifests.options import ManifestOptions
from planner.manifests.pinning import Unpinned, unpinned_models
from planner.manifests.render import ManifestFile, render_plan
from planner.manifests.storage import Untaken, untaken_uris

__all__ = [
    "ManifestFile",
    "ManifestOptions",
    "Unpinned",
    "Untaken",
    "config_map_usage",
    "render_plan",
    "unpinned_models",
    "untaken_uris",
    "write_manifests",
]
