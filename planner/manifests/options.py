"""What the objects of a plan say that the plan does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner import __version__

GatewayKind = Literal["none", "nginx", "httproute"]
"""What gives a group one address: nothing, an nginx of its own, or routes on a Gateway that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestOptions:
    """What the objects say beside the plan.

    Parameters
    ----------
    agent_image
        The agent's container image; kustomize's ``images`` can still replace it.
    service_account
        Name of the ServiceAccount that the shards run under. KServe puts the secrets that are attached to
        one only into an agent of its own, not into ours.
    gateway
        What gives each group one address for all its models.
    gateway_parent
        The Gateway that HTTPRoutes are attached to, ``NAME`` or ``NAMESPACE/NAME``; None without HTTPRoutes.
    """

    agent_image: str = f"shardpack-agent:{__version__}"
    service_account: str = "shardpack"
    gateway: GatewayKind = "none"
    gateway_parent: str | None = None
