"""What a shard's agent needs beside addresses to get its models: claims, Secrets, variables, what it shares.

KServe gives an InferenceService's storage initializer the Secrets of its service account and looks into them
to see what they are for. Nobody looks into a Secret here, so the options say which is which; the names of
keys, of variables and of paths are KServe's, so that one Secret serves both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from planner.manifests.contents import Resident, ShardContents
from planner.manifests.options import ManifestOptions

GCS_KEY = "gcloud-application-credentials.json"
"""The key of KServe's Secrets for Google's object store."""

_GCS = {"name": "shardpack-gcs", "mountPath": "/var/secrets", "readOnly": True}
_STORAGE_CONFIG = {"name": "shardpack-storage-config", "mountPath": "/mnt/storage-config", "readOnly": True}
_SHARED = {"name": "shardpack-shared-cache", "mountPath": "/mnt/shared-cache"}
_CLAIM = re.compile(r"pvc://([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)(?:/|$)")
_CLAIM_DIR = "/mnt/pvc"

Objects = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the agent's containers and the pod say of where models come from.

    Parameters
    ----------
    volumes, mounts
        Of the pod, and of each of the agent's containers.
    env, env_from
        Variables, and Secrets whose keys are variables.
    args
        The agent's arguments.
    """

    volumes: Objects
    mounts: Objects
    env: Objects
    env_from: Objects
    args: list[str]

    @property
    def container(self) -> dict[str, Any]:
        """Return what each of the agent's containers says of it but mounts and arguments."""
        return {
            **({"env": self.env} if self.env else {}),
            **({"envFrom": self.env_from} if self.env_from else {}),
        }


def sources_of(contents: ShardContents, options: ManifestOptions) -> Sources:
    """Return how a shard's agent gets at its models."""
    volumes: Objects = []
    mounts: Objects = []
    env: Objects = [{"name": name, "value": value} for name, value in options.environment]
    args: list[str] = []
    for number, claim in enumerate(claims(contents.residents)):
        name = f"shardpack-pvc-{number}"
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
        mounts.append({"name": name, "mountPath": f"{_CLAIM_DIR}/{claim}", "readOnly": True})
    if options.gcs_secret is not None:
        volumes.append({"name": _GCS["name"], "secret": {"secretName": options.gcs_secret}})
        mounts.append(_GCS)
        env.append({"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": f"{_GCS['mountPath']}/{GCS_KEY}"})
    if options.storage_config is not None:
        volumes.append({"name": _STORAGE_CONFIG["name"], "secret": {"secretName": options.storage_config}})
        mounts.append(_STORAGE_CONFIG)
        args.append(f"--storage-config={_STORAGE_CONFIG['mountPath']}")
    if options.shared_cache is not None:
        volumes.append(_shared_volume(options.shared_cache))
        mounts.append(_SHARED)
        args += _shared_args(options)
    return Sources(
        volumes=volumes,
        mounts=mounts,
        env=env,
        env_from=[{"secretRef": {"name": name}} for name in options.secrets],
        args=args,
    )


def _shared_volume(source: str) -> dict[str, Any]:
    """Return the volume that the agents of a node share; a folder that is not there keeps the pod waiting."""
    if source.startswith("/"):
        return {"name": _SHARED["name"], "hostPath": {"path": source, "type": "Directory"}}
    return {"name": _SHARED["name"], "persistentVolumeClaim": {"claimName": source}}


def _shared_args(options: ManifestOptions) -> list[str]:
    most = options.shared_cache_bytes
    return [
        f"--shared-cache={_SHARED['mountPath']}",
        *([] if most is None else [f"--shared-cache-bytes={max(1, most)}"]),
    ]


def claims(residents: Iterable[Resident]) -> tuple[str, ...]:
    """Return the claims that models come from, sorted; the agent refuses addresses that name none."""
    found = (_CLAIM.match(resident.model.storage_uri) for resident in residents)
    return tuple(sorted({match[1] for match in found if match}))
