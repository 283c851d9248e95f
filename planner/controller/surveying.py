"""Reads a cluster for a proposal, and publishes one: the only parts of it that speak HTTP."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from planner.cluster import Kube, Recorder
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    PODS,
    TRAINED_MODELS,
)
from planner.controller.measuring import Trust, ask_agents
from planner.controller.objects import Style
from planner.controller.proposal_document import config_map, one_line
from planner.controller.proposing import Proposal, Situation, read_situations, read_world
from planner.domain.fleet import DeviceClass, Node
from planner.inventory.kube import read_kube
from planner.manifests.names import LABEL_MANAGED_BY, MANAGED_BY
from planner.scenario.catalogue import shipped_catalogue

_log = logging.getLogger(__name__)

CONTROLLER = "shardpack.dev/propose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found of a cluster.

    Parameters
    ----------
    situations
        Its groups with models.
    faults
        What is wrong with fleets.
    remarks
        What was left out of nodes, agents that do not answer, and that there is nothing to plan.
    """

    situations: tuple[Situation, ...]
    faults: tuple[str, ...]
    remarks: tuple[str, ...]


def survey(  # noqa: PLR0913 - what is read, and how
    kube: Kube, *, namespace: str, style: Style, with_nodes: bool, trust: Trust, tolerated: Sequence[str] = ()
) -> Survey:
    """Return a namespace's groups as they stand.

    Parameters
    ----------
    kube, namespace, style
        The cluster, and how the controller runs in it.
    with_nodes
        Whether nodes, and the pods of all namespaces on them, are read where a fleet has nodes.
    trust
        What the agents' figures are good for; they are not asked if for nothing.
    tolerated
        Further keys of taints that keep no shard away.

    Raises
    ------
    ClusterError
        The cluster cannot be read.
    """
    standalone, fronted = style.mode == "standalone", style.options.gateway == "nginx"
    servers = [] if standalone else [INFERENCE_SERVICES]
    servers += [DEPLOYMENTS] if standalone or fronted else []  # transformers' too
    objects: dict[str, Any] = {
        resource.kind: kube.list(resource, namespace=namespace).items
        for resource in (TRAINED_MODELS, CONFIG_MAPS, *servers)
    }
    ours = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
    objects[PODS.kind] = kube.list(PODS, namespace=namespace, labels=ours).items
    world = read_world(objects)
    remarks: list[str] = []
    measures, silent = ask_agents(world.pods.values()) if trust != "ignore" else ([], [])
    remarks += [f"the agent of pod {name} does not answer" for name in silent]

    def nodes(classes: Sequence[DeviceClass]) -> Sequence[Node]:
        known = (*shipped_catalogue().device_classes.values(), *classes)
        found = read_kube(kube, catalogue=known, tolerated=tolerated)
        remarks.extend(f"{item.node}: {item.text}" for item in found.remarks)
        return found.nodes

    situations, faults = read_situations(
        world,
        namespace=namespace,
        style=style,
        nodes=nodes if with_nodes else None,
        measures=measures,
        trust=trust,
    )
    if not situations and not faults:
        remarks.append(f"no group of a fleet document of namespace {namespace} has models: nothing to plan")
    return Survey(situations=situations, faults=faults, remarks=tuple(remarks))


def publish(  # noqa: PLR0913 - what is said, and by whom
    kube: Kube,
    proposals: Sequence[Proposal],
    faults: Sequence[str],
    *,
    namespace: str,
    stamp: str,
    instance: str,
) -> None:
    """Write the ConfigMap with the proposals, and an event of each that would change something.

    Parameters
    ----------
    kube, namespace
        Where.
    proposals, faults
        What is published.
    stamp, instance
        The time, and who says it.

    Raises
    ------
    ClusterError
        The ConfigMap was not taken; events are best effort.
    """
    kube.apply(CONFIG_MAPS, config_map(proposals, faults, namespace=namespace, stamp=stamp), force=True)
    recorder = Recorder(kube, controller=CONTROLLER, instance=instance)
    for item in proposals:
        if item.difference.is_empty:
            continue
        situation = item.situation
        metadata = {"name": situation.fleet, "namespace": namespace, "uid": situation.uid or None}
        about = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        level: Literal["Normal", "Warning"] = "Normal"
        if item.plan.refusals or situation.broken:
            level = "Warning"
        recorder.record(about, "Proposed", one_line(item), action="Propose", kind=level)
