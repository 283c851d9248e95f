"""The two containers of a shard's pod, the model server and our agent, and what they share."""

from __future__ import annotations

from typing import Any

from planner.manifests.contents import ShardContents
from planner.manifests.names import model_config_name, placement_name
from planner.manifests.options import ManifestOptions
from planner.manifests.sources import Sources
from planner.units import quantity_bytes, quantity_milli

HTTP_PORT = 8080
GRPC_PORT = 9000  # of KServe's Triton runtime
METRICS_PORT = 8002  # of Triton
STATUS_PORT = 9082

# Calls that the agent makes at a time, each of which holds one of the server's HTTP threads while it loads.
_FEWEST_LANES = 4
_MOST_LANES = 16
_HTTP_THREADS = 2 * _MOST_LANES

# The agent has models and its own state on one filesystem, because it renames from one into the other; the
# server sees the models alone, where KServe's runtimes expect them.
_STORE = {"name": "shardpack-store", "mountPath": "/mnt/store"}
_MODELS = {"name": "shardpack-store", "mountPath": "/mnt/models", "subPath": "models"}
_CONFIGS = {"name": "shardpack-configs", "mountPath": "/mnt/configs", "readOnly": True}
_SHARED_MEMORY = {"name": "shardpack-shm", "mountPath": "/dev/shm"}  # noqa: S108 - a folder of the container
_TEMPORARY = {"name": "shardpack-tmp", "mountPath": "/tmp"}  # noqa: S108 - a folder of the container

# A shard mounts so many placement ConfigMaps at once, whether they exist or not: another volume source is
# another pod template, and would restart the server only because one more document was needed.
_SLOTS = 8

_DISK_SLACK_BYTES = 64 << 20
_DISK_SLACK_SHARE = 20

# Who balances load hears no sooner than the pod itself that it is to end, and sends requests until then.
# Together with the server's own exit this takes less than the 30 s that Kubernetes gives a pod.
LEAVING: dict[str, Any] = {"preStop": {"sleep": {"seconds": 5}}}
"""The ``lifecycle`` of a container that is called through a Service."""

_HARDENED: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_AGENT_SECURITY = {**_HARDENED, "readOnlyRootFilesystem": True, "runAsNonRoot": True}


def pod_security() -> dict[str, Any]:
    """Return the security context of the pod; user 1000 is that of KServe's own Triton runtime."""
    return {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def volumes(contents: ShardContents, *, documents: int, sources: Sources) -> list[dict[str, Any]]:
    """Return the volumes of a shard's pod; ``documents`` is how many placement documents it has."""
    disk_bytes = contents.shard_type.disk_bytes
    # The agent keeps below the disk that the plan counts with; a kubelet counts its notes and blocks as well,
    # and ends a pod that is above the limit.
    limit = (
        None if disk_bytes is None else disk_bytes + max(disk_bytes // _DISK_SLACK_SHARE, _DISK_SLACK_BYTES)
    )
    store = {} if limit is None else {"sizeLimit": quantity_bytes(limit)}
    slots = _SLOTS * -(-documents // _SLOTS)
    config_maps = [
        {"configMap": {"name": model_config_name(contents.shard.name)}},
        *(
            {"configMap": {"name": placement_name(contents.shard.name, slot), "optional": True}}
            for slot in range(slots)
        ),
    ]
    found: list[dict[str, Any]] = [
        {"name": _STORE["name"], "emptyDir": store},
        {"name": _CONFIGS["name"], "projected": {"sources": config_maps}},
        {"name": _TEMPORARY["name"], "emptyDir": {}},
    ]
    if _is_triton(contents):
        found.append({"name": _SHARED_MEMORY["name"], "emptyDir": {"medium": "Memory"}})
    return [*found, *sources.volumes]


def _is_triton(contents: ShardContents) -> bool:
    return contents.shard_type.runtime == "triton"


def server_container(contents: ShardContents) -> dict[str, Any]:
    """Return what the InferenceService says of the model server: requests equal limits.

    The root filesystem stays writable: whether every backend of a server does without is not known.
    """
    container: dict[str, Any] = {
        "resources": _exactly(_server_resources(contents)),
        "lifecycle": LEAVING,
        "securityContext": _HARDENED,
        "volumeMounts": [_MODELS],
    }
    if _is_triton(contents):
        container["args"] = _triton_args(contents)
        # The python backend keeps tensors in shared memory, of which a container has 64 MiB by default.
        container["volumeMounts"] = [_MODELS, _SHARED_MEMORY]
    if contents.on_gpu:
        # The plan's ordinals are NVML's; CUDA would otherwise put the fastest device first.
        container["env"] = [{"name": "CUDA_DEVICE_ORDER", "value": "PCI_BUS_ID"}]
    return container


def _triton_args(contents: ShardContents) -> list[str]:
    """Return the options beside those of KServe's runtime, which says the ports and explicit control.

    A strictly ready server is one whose every load went well, so strictness is off: the agent says what is
    ready. Inference keeps half of the HTTP threads, whatever is loading. The exit ends before the 30 s that
    Kubernetes gives a pod. The memory model counts a pool of exactly this size on every GPU.

    At its start the server loads all that was fetched, where its config says, as many models at a time as the
    plan leaves room for; what fails, by chance too many of them on one device, the agent loads again.
    """
    args = [
        "--load-model=*",
        "--exit-on-error=false",
        "--strict-readiness=false",
        f"--http-thread-count={_HTTP_THREADS}",
        f"--model-load-thread-count={_load_threads(contents)}",
        "--exit-timeout-secs=20",
    ]
    if contents.on_gpu:
        pool = contents.runtime.pool_bytes
        devices = range(contents.shard_type.device_count)
        args += [f"--cuda-memory-pool-byte-size={index}:{pool}" for index in devices]
    return args


def _lanes(contents: ShardContents) -> int:
    """Return how many calls the agent makes at a time; it minds itself how many of them load on a device."""
    return max(_FEWEST_LANES, _load_threads(contents))


def _load_threads(contents: ShardContents) -> int:
    """Return how many loads run at a time on a shard: on every device as many as the plan counts with."""
    shard_type = contents.shard_type
    if not contents.on_gpu:
        return _FEWEST_LANES
    return min(_MOST_LANES, max(1, shard_type.parallel_loads * shard_type.device_count))


def _server_resources(contents: ShardContents) -> dict[str, str]:
    shard_type = contents.shard_type
    resources = {
        "cpu": quantity_milli(shard_type.cpu_milli - shard_type.overhead_cpu_milli),
        "memory": quantity_bytes(shard_type.memory_bytes - shard_type.overhead_memory_bytes),
    }
    if contents.on_gpu:
        profile = contents.device_class.mig_profile
        # NVIDIA's plugin writes a profile with attributes, 1g.10gb+me, as mig-1g.10gb.me.
        name = "nvidia.com/gpu" if profile is None else f"nvidia.com/mig-{profile.replace('+', '.')}"
        resources[name] = str(shard_type.device_count)
    return resources


def _exactly(resources: dict[str, str]) -> dict[str, Any]:
    """Return requests that equal limits: the plan has counted them, so nobody may take more."""
    return {"requests": resources, "limits": dict(resources)}


def agent_container(contents: ShardContents, *, options: ManifestOptions, sources: Sources) -> dict[str, Any]:
    """Return our agent's container.

    It is named ``agent``: KServe's injector leaves a pod alone that has a container of this name.
    """
    return {
        "name": "agent",
        "image": options.agent_image,
        "args": [*_agent_args(contents), *_readiness_args(options), *sources.args],
        **sources.container,
        "env": [{"name": "MULTI_MODEL_SERVER", "value": "true"}, *sources.env],
        "ports": [
            {"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": STATUS_PORT}, "periodSeconds": 5},
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": STATUS_PORT},
            "periodSeconds": 10,
            "failureThreshold": 6,
        },
        "resources": _agent_resources(contents),
        "securityContext": _AGENT_SECURITY,
        "volumeMounts": [_STORE, _CONFIGS, _TEMPORARY, *sources.mounts],
    }


def init_containers(contents: ShardContents, *, image: str, sources: Sources) -> list[dict[str, Any]]:
    """Return what runs before the server: the agent fetches all models, which it loads at its start."""
    if not _is_triton(contents):
        return []
    fetch = {
        "name": "fetch",
        "image": image,
        "args": [*_places(contents), *sources.args, "--fetch-only"],
        **sources.container,
        "resources": _agent_resources(contents),
        "securityContext": _AGENT_SECURITY,
        "volumeMounts": [_STORE, _CONFIGS, _TEMPORARY, *sources.mounts],
    }
    return [fetch]


def _places(contents: ShardContents) -> list[str]:
    """Return where the agent finds everything, and how much of the disk is its."""
    disk_bytes = contents.shard_type.disk_bytes
    return [
        *("--config-dir=/mnt/configs", "--model-dir=/mnt/store/models", f"--component-port={HTTP_PORT}"),
        *([] if disk_bytes is None else [f"--max-disk-bytes={max(1, disk_bytes)}"]),
    ]


def _server_args(contents: ShardContents) -> list[str]:
    """Return which server the agent speaks to; over gRPC a load of Triton's holds up no other request."""
    if _is_triton(contents):
        metrics = [f"--server-metrics-url=http://127.0.0.1:{METRICS_PORT}/metrics"] if contents.on_gpu else []
        return ["--server-kind=triton", f"--server-grpc-url=127.0.0.1:{GRPC_PORT}", *metrics]
    return [f"--server-kind={'mlserver' if contents.shard_type.runtime == 'mlserver' else 'kserve'}"]


def _agent_args(contents: ShardContents) -> list[str]:
    return [
        *_places(contents),
        *_server_args(contents),
        "--status-address=0.0.0.0",
        f"--status-port={STATUS_PORT}",
        f"--parallel-loads={_lanes(contents)}",
        f"--loads-per-device={min(contents.shard_type.parallel_loads, _MOST_LANES)}",
    ]


def _readiness_args(options: ManifestOptions) -> list[str]:
    return [] if options.ready_when == "attempted" else [f"--ready-when={options.ready_when}"]


def _agent_resources(contents: ShardContents) -> dict[str, Any]:
    """Return the sidecars' part of the pod; the models' disk is requested here, its limit is the volume's."""
    shard_type = contents.shard_type
    part = {}
    if shard_type.overhead_cpu_milli:
        part["cpu"] = quantity_milli(shard_type.overhead_cpu_milli)
    if shard_type.overhead_memory_bytes:
        part["memory"] = quantity_bytes(shard_type.overhead_memory_bytes)
    resources = _exactly(part) if part else {}
    if shard_type.disk_bytes is not None:
        requests = {**part, "ephemeral-storage": quantity_bytes(shard_type.disk_bytes)}
        resources = {**resources, "requests": requests}
    return resources
