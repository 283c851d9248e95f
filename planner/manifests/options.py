"""What the objects of a plan say that the plan does not."""

from __future__ import annotations

from dataclasses import dataclass

from planner import __version__


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
    """

    agent_image: str = f"shardpack-agent:{__version__}"
    service_account: str = "shardpack"
