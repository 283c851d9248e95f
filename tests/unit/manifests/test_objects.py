"""What each object of a plan says, and that an API server would take it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agent.cli import main as agent_command
from agent.desired import PROBE_KINDS, read_models_json, read_placement
from planner.domain.fleet import Backend, Cluster, DeviceClass, NodeDevice, Runtime
from planner.domain.placement import Placed, Shard
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.errors import InputError
from planner.manifests import ManifestOptions, config_map_usage, render_plan
from tests.support.builders import GIB, MIB, a_model, a_node, a_scenario, a_shard_type, an_option, models
from tests.support.kubernetes_objects import (
    KSERVE,
    KUSTOMIZE,
    core_faults,
    definition_faults,
    narrow_faults,
    objects_in,
)
from tests.support.plans import a_plan, a_shard, everything, on

Object = dict[str, Any]


def rendered(scenario: Scenario, *items: Shard | Placed) -> list[Object]:
    files = render_plan(a_plan(scenario, *items), scenario)
    return [item for file in files for item in objects_in(file.text)]


def named(items: list[Object], kind: str, name: str) -> Object:
    (found,) = (item for item in items if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


def predictor(items: list[Object], shard: str = "t") -> Object:
    found: Object = named(items, "InferenceService", shard)["spec"]["predictor"]
    return found


def agent(items: list[Object], shard: str = "t") -> Object:
    (found,) = predictor(items, shard)["containers"]
    assert isinstance(found, dict)
    return found


def placement(items: list[Object], shard: str = "t", chunk: int = 0) -> Object:
    data = named(items, "ConfigMap", f"shardpack-{shard}-{chunk}")["data"]
    found: Object = json.loads(data[f"placement-{chunk}.json"])
    return found


def models_json(items: list[Object], shard: str = "t") -> list[Object]:
    found: list[Object] = json.loads(
        named(items, "ConfigMap", f"modelconfig-{shard}-0")["data"]["models.json"]
    )
    return found


# ------------------------------------------------------------------------------------- every kind of shard


def test_the_plan_of_these_tests_is_legal():
    scenario, *items = everything()
    assert verify_placement(scenario, a_plan(scenario, *items).placement) == ()


def test_core_objects_are_valid_for_kubernetes():
    core = [item for item in rendered(*everything()) if "/" not in item["apiVersion"]]
    assert {item["kind"] for item in core} == {"ConfigMap", "Namespace", "ServiceAccount"}
    assert [fault for item in core for fault in core_faults(item)] == []


def test_kserve_objects_have_only_the_fields_that_we_know():
    kserve = [item for item in rendered(*everything()) if item["apiVersion"].startswith(KSERVE)]
    assert {item["kind"] for item in kserve} == {"InferenceService", "TrainedModel"}
    assert [fault for item in kserve for fault in narrow_faults(item)] == []


def test_kserve_objects_are_valid_for_kserves_own_definitions(kserve_crds):
    kserve = [item for item in rendered(*everything()) if item["apiVersion"].startswith(KSERVE)]
    assert [fault for item in kserve for fault in definition_faults(item, kserve_crds)] == []


def test_the_definitions_would_notice_a_field_that_they_drop(kserve_crds):
    item = named(rendered(*everything()), "InferenceService", "bought")
    item["spec"]["predictor"]["triton"]["pinned"] = True
    assert definition_faults(item, kserve_crds) == [
        "InferenceService: $.spec.predictor.triton.pinned: would be dropped"
    ]


def test_the_narrow_schema_would_notice_a_root_container():
    item = named(rendered(*everything()), "InferenceService", "bought")
    item["spec"]["predictor"]["containers"][0]["securityContext"]["runAsNonRoot"] = False
    assert narrow_faults(item)


def test_pod_template_is_valid_for_kubernetes():
    """The predictor is a pod's spec with a server in it: as a pod it passes Kubernetes' strict schema."""
    spec = predictor(rendered(*everything()), "bought")
    own = {"minReplicas", "maxReplicas", "labels", "triton", "deploymentStrategy"}
    pod = {key: value for key, value in spec.items() if key not in own}
    server = {"name": "kserve-container", "image": "tritonserver", **spec["triton"]}
    pod["containers"] = [server, *pod["containers"]]
    item = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod}
    assert core_faults(item) == []
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
    assert mounted == volumes


# ---------------------------------------------------------------------------------------- InferenceService


def test_requests_equal_limits_and_sidecars_are_taken_off_the_server():
    shard_type = a_shard_type(
        cpu_milli=4_000, memory_bytes=16 * GIB, overhead_cpu_milli=500, overhead_memory_bytes=512 * MIB
    )
    items = rendered(a_scenario(types=(shard_type,)), a_shard())
    server = predictor(items)["triton"]["resources"]
    assert server["requests"] == server["limits"]
    assert server["limits"] == {"cpu": "3500m", "memory": "15872Mi", "nvidia.com/gpu": "1"}
    assert agent(items)["resources"]["limits"] == {"cpu": "500m", "memory": "512Mi"}
    assert agent(items)["resources"]["requests"] == {"cpu": "500m", "memory": "512Mi"}


def test_mig_instances_are_asked_for_by_profile():
    items = rendered(*everything())
    assert predictor(items, "sliced")["triton"]["resources"]["limits"]["nvidia.com/mig-1g.10gb.me"] == "1"


def test_cpu_shard_asks_for_no_gpu():
    server = predictor(rendered(*everything()), "sk")
    assert set(server["sklearn"]["resources"]["limits"]) == {"cpu", "memory"}
    assert "tolerations" not in server
    assert "args" not in server["sklearn"]


def test_mlserver_is_a_runtime_of_kserve():
    found = predictor(rendered(*everything()), "mls")["model"]
    assert (found["runtime"], found["protocolVersion"]) == ("kserve-mlserver", "v2")
    assert "storageUri" not in found


def test_disk_is_requested_once_and_bounds_the_models():
    items = rendered(*everything())
    assert agent(items, "sliced")["resources"] == {"requests": {"ephemeral-storage": "1Gi"}}
    (store,) = (item for item in predictor(items, "sliced")["volumes"] if item["name"] == "shardpack-store")
    assert store["emptyDir"] == {"sizeLimit": "1088Mi"}
    for container in (agent(items, "sliced"), predictor(items, "sliced")["initContainers"][0]):
        given = agent_command.make_context("shardpack-agent", list(container["args"])).params
        assert given["max_disk_bytes"] == GIB


def test_identical_pods_of_a_shard():
    found = predictor(rendered(*everything()), "bought")
    assert (found["minReplicas"], found["maxReplicas"]) == (2, 2)


def test_memory_pool_is_the_one_that_the_memory_model_counts():
    runtime = Runtime(name="triton", pool_bytes=64 * MIB)
    scenario = a_scenario(types=(a_shard_type(device_count=2),), runtimes=(runtime,))
    args = predictor(rendered(scenario, a_shard()))["triton"]["args"]
    pools = [arg for arg in args if arg.startswith("--cuda-memory-pool-byte-size")]
    assert pools == ["--cuda-memory-pool-byte-size=0:67108864", "--cuda-memory-pool-byte-size=1:67108864"]


@pytest.mark.parametrize(
    ("parallel_loads", "devices", "lanes", "threads"), [(1, 1, 4, 1), (3, 2, 6, 6), (40, 1, 16, 16)]
)
def test_agent_understands_its_arguments(parallel_loads, devices, lanes, threads):
    shard_type = a_shard_type(parallel_loads=parallel_loads, device_count=devices)
    items = rendered(a_scenario(types=(shard_type,)), a_shard())
    found = agent_command.make_context("shardpack-agent", list(agent(items)["args"])).params
    assert found["component_port"] == 8080
    assert (found["status_address"], found["status_port"]) == ("0.0.0.0", 9082)
    assert found["parallel_loads"] == lanes
    assert found["loads_per_device"] == min(parallel_loads, 16)
    mounts = {mount["mountPath"] for mount in agent(items)["volumeMounts"]}
    assert {str(found["config_dir"]), str(found["model_dir"].parent)} <= mounts
    assert f"--model-load-thread-count={threads}" in predictor(items)["triton"]["args"]


def test_files_are_fetched_before_a_server_that_loads_them_at_its_start():
    items = rendered(a_scenario(), a_shard())
    (fetch,) = predictor(items)["initContainers"]
    given = agent_command.make_context("shardpack-agent", list(fetch["args"])).params
    beside = agent_command.make_context("shardpack-agent", list(agent(items)["args"])).params
    assert given["fetch_only"]
    for place in ("config_dir", "model_dir", "component_port"):
        assert given[place] == beside[place]
    assert fetch["volumeMounts"] == agent(items)["volumeMounts"]
    assert {"--load-model=*", "--exit-on-error=false"} <= set(predictor(items)["triton"]["args"])


def test_server_and_agent_share_the_models():
    items = rendered(a_scenario(), a_shard())
    (model_dir,) = (arg.partition("=")[2] for arg in agent(items)["args"] if arg.startswith("--model-dir"))
    (store,) = (mount for mount in agent(items)["volumeMounts"] if mount["name"] == "shardpack-store")
    (models_mount,) = (
        mount for mount in predictor(items)["triton"]["volumeMounts"] if mount["name"] == "shardpack-store"
    )
    assert f"{store['mountPath']}/{models_mount['subPath']}" == model_dir


def test_probes_ask_the_agent():
    container = agent(rendered(a_scenario(), a_shard()))
    ports = {port["containerPort"] for port in container["ports"]}
    for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        assert container[probe]["httpGet"] == {"path": path, "port": 9082}
    assert ports == {9082}


def test_options_name_image_and_account():
    scenario = a_scenario()
    options = ManifestOptions(agent_image="registry.example/agent:7", service_account="reader")
    files = render_plan(a_plan(scenario, a_shard()), scenario, options=options)
    items = [item for file in files for item in objects_in(file.text)]
    assert agent(items)["image"] == "registry.example/agent:7"
    assert predictor(items)["serviceAccountName"] == "reader"
    assert named(items, "ServiceAccount", "reader")


# ------------------------------------------------------------------------------------ where models come from


STORES = ManifestOptions(
    secrets=("s3-keys", "hub-token"),
    gcs_secret="google",
    storage_config="storage-config",
    environment=(("AWS_ENDPOINT_URL", "http://minio:9000"),),
)


def with_stores(scenario: Scenario, *items: Shard | Placed) -> list[Object]:
    files = render_plan(a_plan(scenario, *items), scenario, options=STORES)
    return [item for file in files for item in objects_in(file.text)]


def test_both_containers_of_the_agent_get_what_reaches_the_stores():
    items = with_stores(a_scenario(), a_shard())
    (fetch,) = predictor(items)["initContainers"]
    for container in (agent(items), fetch):
        assert container["envFrom"] == [{"secretRef": {"name": name}} for name in ("s3-keys", "hub-token")]
        variables = {entry["name"]: entry["value"] for entry in container["env"]}
        assert variables["AWS_ENDPOINT_URL"] == "http://minio:9000"
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        folder, _, key = variables["GOOGLE_APPLICATION_CREDENTIALS"].rpartition("/")
        assert mounts[folder]["readOnly"]
        assert key == "gcloud-application-credentials.json"
        given = agent_command.make_context("shardpack-agent", list(container["args"])).params
        assert mounts[str(given["storage_config"])]["readOnly"]
    secrets = {item["secret"]["secretName"] for item in predictor(items)["volumes"] if "secret" in item}
    assert secrets == {"google", "storage-config"}


def test_the_server_sees_no_secret():
    server = predictor(with_stores(a_scenario(), a_shard()))["triton"]
    assert "envFrom" not in server
    assert {entry["name"] for entry in server["env"]} == {"CUDA_DEVICE_ORDER"}
    assert not any("secret" in mount["name"] or "gcs" in mount["name"] for mount in server["volumeMounts"])


def test_the_service_account_lists_its_secrets_and_none_without():
    account = named(with_stores(a_scenario(), a_shard()), "ServiceAccount", "shardpack")
    assert [entry["name"] for entry in account["secrets"]] == [
        "google",
        "hub-token",
        "s3-keys",
        "storage-config",
    ]
    assert "secrets" not in named(rendered(a_scenario(), a_shard()), "ServiceAccount", "shardpack")


def test_what_a_pod_s_readiness_waits_for_is_told_to_the_agent():
    def ready_when(options: ManifestOptions) -> object:
        files = render_plan(a_plan(a_scenario(), a_shard()), a_scenario(), options=options)
        args = list(agent([item for file in files for item in objects_in(file.text)])["args"])
        return agent_command.make_context("shardpack-agent", args).params["ready_when"]

    assert ready_when(ManifestOptions()) == "attempted"
    assert ready_when(ManifestOptions(ready_when="loaded")) == "loaded"


@pytest.mark.parametrize(
    ("source", "volume"),
    [
        ("models-cache", {"persistentVolumeClaim": {"claimName": "models-cache"}}),
        ("/var/lib/shardpack", {"hostPath": {"path": "/var/lib/shardpack", "type": "Directory"}}),
    ],
)
def test_what_agents_share_is_mounted_for_them_alone(source, volume):
    options = ManifestOptions(shared_cache=source, shared_cache_bytes=1 << 30)
    files = render_plan(a_plan(a_scenario(), a_shard()), a_scenario(), options=options)
    items = [item for file in files for item in objects_in(file.text)]
    pod = predictor(items)
    (name,) = (item.pop("name") for item in pod["volumes"] if item.items() >= volume.items())
    (fetch,) = pod["initContainers"]
    for container in (agent(items), fetch):
        given = agent_command.make_context("shardpack-agent", list(container["args"])).params
        assert {"name": name, "mountPath": str(given["shared_cache"])} in container["volumeMounts"]
        assert given["shared_cache_bytes"] == 1 << 30
    assert name not in {mount["name"] for mount in pod["triton"]["volumeMounts"]}


def test_every_claim_of_a_shard_is_mounted_where_the_agent_looks(tmp_path):
    uris = ("pvc://weights/a", "pvc://weights/b", "pvc://old.weights", "pvc:///nothing", "s3://b/m")
    scenario = a_scenario(
        *(a_model(f"m{number}", storage_uri=uri) for number, uri in enumerate(uris)),
        types=(a_shard_type("t"), a_shard_type("u")),
    )
    places = [on(f"m{number}", "t") for number in range(4)]
    items = rendered(scenario, a_shard("t"), a_shard("u"), *places, on("m4", "u"))
    pvc_dir = agent_command.make_context("shardpack-agent", list(agent(items)["args"])).params["pvc_dir"]
    (fetch,) = predictor(items)["initContainers"]
    for container in (agent(items), fetch):
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        claimed = {
            item["persistentVolumeClaim"]["claimName"]: mounts[item["name"]]
            for item in predictor(items)["volumes"]
            if "persistentVolumeClaim" in item
        }
        assert {claim: mount["mountPath"] for claim, mount in claimed.items()} == {
            "weights": str(pvc_dir / "weights"),
            "old.weights": str(pvc_dir / "old.weights"),
        }
        assert all(mount["readOnly"] for mount in claimed.values())
    assert not any("persistentVolumeClaim" in item for item in predictor(items, "u")["volumes"])


def test_objects_with_stores_and_claims_are_valid():
    scenario = a_scenario(a_model("m", storage_uri="pvc://weights/m"))
    items = with_stores(scenario, a_shard(), on("m", "t"))
    assert [
        fault for item in items if item["apiVersion"].startswith(KSERVE) for fault in narrow_faults(item)
    ] == []
    spec = predictor(items)
    containers = [*spec["containers"], {"name": "kserve-container", "image": "server", **spec["triton"]}]
    pod = {"containers": containers, "initContainers": spec["initContainers"], "volumes": spec["volumes"]}
    assert core_faults({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod}) == []


# ------------------------------------------------------------------------------------------------- where


@pytest.mark.parametrize(
    ("spread", "apart"), [("node", True), ("shard", False), ("zone", False), ("none", False)]
)
def test_bought_shards_stand_on_machines_of_their_own_when_replicas_spread_over_nodes(spread, apart):
    items = rendered(a_scenario(spread=spread), a_shard())
    assert ("affinity" in predictor(items)) is apart


def test_anti_affinity_is_about_all_shards_of_the_plan():
    items = rendered(*everything())
    (term,) = predictor(items, "bought")["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    wanted = term["labelSelector"]["matchLabels"]
    services = [item for item in items if item["kind"] == "InferenceService"]
    assert len(services) == 7
    for service in services:
        assert wanted.items() <= service["spec"]["predictor"]["labels"].items()


def test_shard_on_a_node_goes_to_that_node_and_never_stands_beside_itself():
    found = predictor(rendered(*everything()), "onnode")
    assert found["nodeSelector"] == {"kubernetes.io/hostname": "n0", "pool": "gpu"}
    assert found["deploymentStrategy"] == {"type": "Recreate"}
    assert "affinity" not in found


@pytest.mark.parametrize("replicas", [1, 4])
def test_a_bought_shard_has_one_pod_more_while_it_is_rolled_out_and_never_one_less(replicas):
    scenario = a_scenario(types=(a_shard_type(replicas=replicas),))
    found = predictor(rendered(scenario, a_shard()))["deploymentStrategy"]
    assert found == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_a_hostname_label_wins_over_the_nodes_name():
    node = a_node("n0", labels=(("kubernetes.io/hostname", "host-0"),))
    scenario = a_scenario(types=(a_shard_type(provision="existing"),), nodes=(node,))
    found = predictor(rendered(scenario, a_shard(node="n0", node_devices=(0,))))
    assert found["nodeSelector"] == {"kubernetes.io/hostname": "host-0"}


def test_bought_gpu_shard_asks_for_its_product_unless_its_type_says_more():
    plain = DeviceClass(name="gpu-16", kind="gpu", memory_bytes=GIB, product="Tesla-T4")
    said = a_shard_type(node_selector=(("cloud.google.com/gke-accelerator", "nvidia-tesla-t4"),), zone="b")
    first = predictor(rendered(a_scenario(classes=(plain,)), a_shard()))
    second = predictor(rendered(a_scenario(types=(said,), classes=(plain,)), a_shard()))
    assert first["nodeSelector"] == {"nvidia.com/gpu.product": "Tesla-T4"}
    assert second["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-tesla-t4",
        "topology.kubernetes.io/zone": "b",
    }


# -------------------------------------------------------------------------------- models and the documents


def test_trained_model_has_its_first_replicas_shard_as_parent_and_names_the_others():
    found = named(rendered(*everything()), "TrainedModel", "everywhere")
    assert found["spec"]["inferenceService"] == "bought"
    annotations = found["metadata"]["annotations"]
    assert annotations.keys() == {"shardpack.dev/replica-shards", "shardpack.dev/model"}
    assert annotations["shardpack.dev/replica-shards"] == "onnode,sliced"
    assert json.loads(annotations["shardpack.dev/model"])["replicas"] == 3
    assert found["spec"]["model"] == {
        "storageUri": "s3://models/everywhere",
        "framework": "onnx",
        "memory": "1Mi",
    }


def test_models_json_holds_only_models_whose_first_replica_is_here():
    items = rendered(*everything())
    assert [entry["modelName"] for entry in models_json(items, "bought")] == ["everywhere"]
    assert models_json(items, "onnode") == []
    assert set(placement(items, "onnode")["models"]) == {"everywhere"}


def test_a_model_whose_replica_0_is_refused_still_has_a_parent():
    scenario = a_scenario(a_model("m", replicas=2))
    items = rendered(scenario, a_shard(), on("m", "t", replica=1))
    assert named(items, "TrainedModel", "m")["spec"]["inferenceService"] == "t"
    assert [entry["modelName"] for entry in models_json(items)] == ["m"]


def test_planned_memory_is_what_the_quantile_says():
    uncertain = replace(an_option(gpu=GIB), memory_bytes=replace(an_option().memory_bytes, p50=MIB, p95=GIB))
    for quantile, memory in (("p50", "1Mi"), ("p95", "1Gi")):
        items = rendered(a_scenario(a_model("m", uncertain), quantile=quantile), on("m"))
        assert named(items, "TrainedModel", "m")["spec"]["model"]["memory"] == memory


def test_kserve_would_accept_the_models_memory():
    """KServe compares the sum of the models' memory with the server's limit; a legal plan is below it."""
    wide = a_shard_type(memory_bytes=4 * GIB, overhead_memory_bytes=GIB)
    scenario = a_scenario(*models(3, an_option(host=GIB)), types=(wide,))
    plan_items = [on(f"m-00{index}") for index in range(3)]
    assert verify_placement(scenario, a_plan(scenario, *plan_items).placement) == ()
    assert predictor(rendered(scenario, *plan_items))["triton"]["resources"]["limits"]["memory"] == "3Gi"


def test_placement_pins_every_replica_with_its_figures():
    runtime = Runtime(name="triton", context_bytes=300 * MIB)
    python = Backend(name="python", context_per_instance=True)
    option = an_option(gpu=GIB, peak=2 * GIB, host=MIB, instances=2)
    scenario = a_scenario(
        a_model("m", option, backend="python"),
        types=(a_shard_type(device_count=2),),
        runtimes=(runtime,),
        backends=(python,),
    )
    entry = placement(rendered(scenario, on("m", "t", 1)))["models"]["m"]
    assert entry["devices"] == [{"kind": "gpu", "index": 1, "uuid": None}]
    assert entry["instances"] == 2
    assert entry["steadyBytes"] == GIB + 600 * MIB
    assert entry["loadPeakBytes"] == 2 * GIB + 600 * MIB
    assert entry["memoryBytes"] == MIB


def test_a_model_that_needs_no_gpu_is_pinned_to_the_cpu_of_a_gpu_shard():
    entry = placement(rendered(a_scenario(a_model("m", an_option(host=MIB))), on("m")))["models"]["m"]
    assert entry["devices"] == [{"kind": "cpu", "index": 0, "uuid": None}]
    assert (entry["steadyBytes"], entry["loadPeakBytes"]) == (0, 0)


@pytest.mark.parametrize("probe", [None, *PROBE_KINDS])
def test_the_agent_is_told_how_to_look_at_a_model(probe):
    scenario = a_scenario(a_model("m", probe=probe))
    texts = {"p": json.dumps(placement(rendered(scenario, a_shard("t"), on("m", "t"))))}
    assert read_placement(texts).models[0].probe == probe


def test_a_model_on_several_devices_is_pinned_to_all_of_them():
    scenario = a_scenario(a_model("m", devices_per_replica=2), types=(a_shard_type(device_count=3),))
    entry = placement(rendered(scenario, on("m", "t", 0, 2)))["models"]["m"]
    assert [device["index"] for device in entry["devices"]] == [0, 2]


def test_what_is_paid_beside_the_models_stands_in_the_placement_documents():
    runtime = Runtime(name="triton", context_bytes=100 * MIB, pool_bytes=64 * MIB)
    backends = (
        Backend(name="onnxruntime", device_base_bytes=GIB),
        Backend(name="python", device_base_bytes=2 * GIB),
    )
    option = an_option(gpu=GIB)
    scenario = a_scenario(
        *(a_model(name, option, backend="onnxruntime") for name in "ab"),
        a_model("c", option, backend="python"),
        a_model("d", an_option("cpu"), backend="python"),
        types=(a_shard_type(device_count=3),),
        runtimes=(runtime,),
        backends=backends,
    )
    items = (on("a", "t", 0), on("b", "t", 0), on("c", "t", 1), on("d", "t", 2))
    costs = placement(rendered(scenario, a_shard(), *items))["devices"]
    assert costs == [
        {"index": 0, "uuid": None, "fixedBytes": GIB + 164 * MIB},
        {"index": 1, "uuid": None, "fixedBytes": 2 * GIB + 164 * MIB},
        {"index": 2, "uuid": None, "fixedBytes": 164 * MIB},
    ]
    assert "devices" not in placement(rendered(*everything()), "sk")


def test_largest_load_peak_is_loaded_first():
    scenario = a_scenario(
        a_model("a-small", an_option(gpu=MIB)),
        a_model("b-large", an_option(gpu=MIB, peak=GIB)),
        a_model("c-host", an_option(host=GIB)),
    )
    entries = placement(rendered(scenario, on("a-small"), on("b-large"), on("c-host")))["models"]
    assert sorted(entries, key=lambda name: int(entries[name]["order"])) == ["b-large", "a-small", "c-host"]


@pytest.mark.parametrize(
    ("held", "expected"), [((0, 1), ["GPU-0", "GPU-1"]), ((1, 0), ["GPU-1", "GPU-0"]), ((0,), [None])]
)
def test_uuids_are_bound_only_where_the_pod_gets_every_device_of_the_node(held, expected):
    devices = tuple(NodeDevice(device_class="gpu-16", uuid=f"GPU-{index}") for index in range(2))
    scenario = a_scenario(
        *models(len(held)),
        types=(a_shard_type(provision="existing", device_count=len(held)),),
        nodes=(a_node("n0", devices=devices),),
    )
    items = rendered(
        scenario,
        a_shard(node="n0", node_devices=held),
        *(on(f"m-00{index}", "t", index) for index in range(len(held))),
    )
    entries = placement(items)["models"]
    assert [entries[name]["devices"][0]["uuid"] for name in sorted(entries)] == expected


def test_uuids_are_not_bound_where_the_node_has_gpus_of_another_product():
    """Both are ``nvidia.com/gpu``, so the pod may get the other one."""
    devices = (
        NodeDevice(device_class="gpu-16", uuid="GPU-0"),
        NodeDevice(device_class="other", uuid="GPU-1"),
    )
    scenario = a_scenario(
        a_model("m"),
        types=(a_shard_type(provision="existing"),),
        nodes=(a_node("n0", devices=devices),),
    )
    entry = placement(rendered(scenario, a_shard(node="n0", node_devices=(0,)), on("m")))["models"]["m"]
    assert entry["devices"] == [{"kind": "gpu", "index": 0, "uuid": None}]


def test_uuid_of_the_only_slice_of_a_profile_is_bound():
    devices = (
        NodeDevice(device_class="small", uuid="MIG-0", parent="GPU-0"),
        NodeDevice(device_class="large", uuid="MIG-1", parent="GPU-0"),
    )
    classes = tuple(
        DeviceClass(name=name, kind="gpu", memory_bytes=8 * GIB, mig_profile=profile)
        for name, profile in (("large", "3g.20gb"), ("small", "1g.5gb"))
    )
    scenario = a_scenario(
        a_model("m"),
        types=(a_shard_type(provision="existing", device_class="small"),),
        nodes=(a_node("n0", devices=devices),),
        classes=classes,
    )
    entry = placement(rendered(scenario, a_shard(node="n0", node_devices=(0,)), on("m")))["models"]["m"]
    assert entry["devices"] == [{"kind": "gpu", "index": 0, "uuid": "MIG-0"}]


def test_the_agent_reads_what_is_written():
    items = rendered(*everything())
    found = {}
    for item in items:
        for key, text in item.get("data", {}).items():
            document = read_models_json(text) if key == "models.json" else read_placement({key: text})
            found[item["metadata"]["name"]] = [model.name for model in document.models]
    assert found["shardpack-onnode-0"] == ["everywhere"]
    assert found["modelconfig-sk-0"] == ["sk-model"]
    assert len(found) == 14


# ---------------------------------------------------------------------------------------------- ConfigMaps


def small_config_maps(count: int, max_bytes: int, *, replica: int = 0) -> tuple[Scenario, list[Placed]]:
    scenario = a_scenario(
        *models(count, replicas=replica + 1), cluster=Cluster(max_config_map_bytes=max_bytes)
    )
    return scenario, [on(model.name, replica=replica) for model in scenario.models]


def test_many_models_take_several_placement_documents_all_mounted():
    scenario, placed = small_config_maps(40, 5_000)
    items = rendered(scenario, *placed)
    documents = {
        key: text
        for item in items
        if item["kind"] == "ConfigMap" and item["metadata"]["name"].startswith("shardpack-")
        for key, text in item["data"].items()
    }
    assert 1 < len(documents) <= 8
    assert all(len(text) <= 5_000 for text in documents.values())
    assert len(read_placement(documents).models) == 40
    (volume,) = (item for item in predictor(items)["volumes"] if "projected" in item)
    mounted = [source["configMap"]["name"] for source in volume["projected"]["sources"]]
    assert {f"shardpack-t-{chunk}" for chunk in range(len(documents))} < set(mounted)


def test_one_more_document_changes_no_pod():
    scenario, placed = small_config_maps(40, 5_000)
    few = predictor(rendered(scenario, *placed[:2]))
    many = predictor(rendered(scenario, *placed))
    assert few == many


def test_more_documents_than_slots_take_further_slots():
    scenario, placed = small_config_maps(40, 1_200, replica=1)
    parents = [f"t-{number}" for number in range(1, 6)]
    items = rendered(
        scenario,
        a_shard(),
        *(a_shard(name, "t") for name in parents),
        *(on(item.model, parents[index % 5]) for index, item in enumerate(placed)),
        *placed,
    )
    documents = [
        item["metadata"]["name"]
        for item in items
        if item["kind"] == "ConfigMap" and item["metadata"]["labels"]["shardpack.dev/shard"] == "t"
    ]
    (volume,) = (item for item in predictor(items)["volumes"] if "projected" in item)
    mounted = {source["configMap"]["name"] for source in volume["projected"]["sources"]}
    assert len(documents) > 9
    assert set(documents) <= mounted
    assert len(mounted) == 1 + 16


def test_usage_says_how_near_the_limit_each_shard_is():
    scenario, placed = small_config_maps(40, 5_000)
    (usage,) = config_map_usage(a_plan(scenario, *placed), scenario)
    items = rendered(scenario, *placed)
    text = named(items, "ConfigMap", "modelconfig-t-0")["data"]["models.json"]
    assert usage.models_json_bytes == len(text) <= usage.limit_bytes == 5_000
    assert usage.placement_documents > 1
    assert usage.placement_bytes > usage.models_json_bytes


def test_models_json_above_the_limit_is_refused_with_its_numbers():
    scenario, placed = small_config_maps(60, 5_000)
    with pytest.raises(InputError, match=r"shards\.t: models\.json of 60 models takes \d+ bytes of .* 5000"):
        rendered(scenario, *placed)
    (usage,) = config_map_usage(a_plan(scenario, *placed), scenario)
    assert usage.models_json_bytes > usage.limit_bytes


# ------------------------------------------------------------------------------------------------- refusals


def test_a_server_without_multi_model_service_is_refused():
    scenario = a_scenario(types=(a_shard_type(runtime="kserve-python"),))
    with pytest.raises(InputError, match=r"shardTypes\.t\.runtime: .*'kserve-python'.*triton"):
        rendered(scenario, a_shard())


def test_a_model_that_fits_into_no_document_is_refused_beside_other_faults():
    wordy = a_model("m", storage_uri=f"s3://{'x' * 2_000}")
    scenario = a_scenario(
        wordy,
        a_model("n"),
        types=(a_shard_type("t"), a_shard_type("u", runtime="kserve-python")),
        cluster=Cluster(max_config_map_bytes=1_500),
    )
    with pytest.raises(InputError) as caught:
        rendered(scenario, a_shard("t"), a_shard("u"), on("m"), on("n", "u"))
    assert [fault.path for fault in caught.value.faults] == ["shardTypes.u.runtime", "shards.t"]
    assert "model 'm' needs" in str(caught.value)


def test_bad_namespace_is_refused():
    scenario = replace(a_scenario(), namespace="No_Namespace")
    with pytest.raises(InputError, match="namespace: 'No_Namespace' is not the name of a namespace"):
        rendered(scenario, a_shard())


def test_triton_without_gpus_has_no_gpu_pool():
    found = predictor(rendered(a_scenario(types=(a_shard_type(device_class="cpu"),)), a_shard()))["triton"]
    assert not any("cuda" in argument for argument in found["args"])
    assert "env" not in found


def test_every_bad_name_is_reported_at_once():
    long = "g" * 60
    scenario = replace(a_scenario(types=(a_shard_type("t" * 64, group=long),)), name="a b")
    with pytest.raises(InputError) as caught:
        rendered(scenario, a_shard(long, "t" * 64))
    assert [fault.path for fault in caught.value.faults] == [
        "name",
        f"shards.{long}",
        f"shardTypes.{'t' * 64}",
    ]


def test_kustomization_brings_services_before_the_models_that_need_them():
    items = rendered(*everything())
    (found,) = (item for item in items if item["apiVersion"].startswith(KUSTOMIZE))
    resources = found["resources"]
    services = [index for index, path in enumerate(resources) if path.endswith("inferenceservice.yaml")]
    trained = [index for index, path in enumerate(resources) if path.endswith("trainedmodels.yaml")]
    assert resources[:2] == ["namespace.yaml", "serviceaccount.yaml"]
    assert max(services) < min(trained)
    assert found["sortOptions"] == {"order": "fifo"}
