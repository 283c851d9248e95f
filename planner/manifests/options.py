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
        one only into an agent of its own, not into ours; so those that ours needs are named here.
    gateway
        What gives each group one address for all its models.
    gateway_parent
        The Gateway that HTTPRoutes are attached to, ``NAME`` or ``NAMESPACE/NAME``; None without HTTPRoutes.
    network_policies
        Whether it is said who may connect to shards and gateways.
    secrets
        Secrets whose keys become variables of the agent, as ``AWS_ACCESS_KEY_ID`` or ``HF_TOKEN``.
    gcs_secret
        The Secret with Google's credentials under ``gcloud-application-credentials.json``.
    storage_config
        KServe's Secret of stores, ``storage-config``.
    environment
        Further variables of the agent that are no secrets, as ``AWS_ENDPOINT_URL``: name and value.
    shared_cache
        What the agents of a node share of what they fetch: a claim's name, or the absolute path of a folder
        of the node; None where they share nothing.
    shared_cache_bytes
        What that may take at most; None leaves it to the disk.
    ready_when
        When a shard's pod is ready: every model was ``attempted``, or every one is ``loaded``.
    triton_image
        Triton's container image where a shard is a Deployment; KServe knows its own.
    """

    agent_image: str = f"shardpack-agent:{__version__}"
    service_account: str = "shardpack"
    gateway: GatewayKind = "none"
    gateway_parent: str | None = None
    network_policies: bool = False
    secrets: tuple[str, ...] = ()
    gcs_secret: str | None = None
    storage_config: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    ready_when: Literal["attempted", "loaded"] = "attempted"
    shared_cache: str | None = None
    shared_cache_bytes: int | None = None
    triton_image: str = "nvcr.io/nvidia/tritonserver:24.10-py3"

    @property
    def attached(self) -> tuple[str, ...]:
        """Return every Secret that is named, sorted: those that the ServiceAccount lists."""
        named = (*self.secrets, self.gcs_secret, self.storage_config)
        return tuple(sorted({name for name in named if name is not None}))
