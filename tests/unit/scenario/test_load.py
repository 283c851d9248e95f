"""What a sound scenario becomes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from planner.domain.fleet import LoadCost
from planner.domain.footprint import Amount
from planner.domain.scenario import Scenario
from planner.errors import InputError
from planner.scenario.dump import scenario_text
from planner.scenario.load import load_scenario, parse_scenario

SCENARIOS = Path(__file__).parents[3] / "scenarios"
HEAD = "apiVersion: shardpack.dev/v1alpha1\nkind: Scenario\nmetadata: {name: shop}\nspec:\n"
GIB = 2**30


def scenario(spec: str) -> Scenario:
    return parse_scenario(HEAD + textwrap.indent(textwrap.dedent(spec), "  "), file="s.yaml")


def test_a_shard_type_of_the_catalogue_is_overridden_field_by_field() -> None:
    (found,) = scenario("""\
        shardTypes: [{use: aws-g4dn.xlarge, name: t4, maxCount: 10, resources: {cpu: "3"}}]
        models: []
        """).shard_types
    assert (found.name, found.max_count, found.cpu_milli) == ("t4", 10, 3000)
    assert (found.device_class, found.memory_bytes) == ("nvidia-t4", 14 * GIB)
    assert found.price_microusd_per_h == 526_000


def test_the_default_group_is_an_inference_service_name() -> None:
    found = scenario("shardTypes: [{use: aws-g4dn.xlarge}]\nmodels: []\n")
    assert found.shard_types[0].group == "shop-aws-g4dn-xlarge"


@pytest.mark.parametrize(("nodes", "provision"), [("", "new"), ("NODES", "existing")])
def test_shards_stand_on_nodes_where_the_scenario_lists_some(nodes: str, provision: str) -> None:
    given = "nodes: [{name: n, allocatable: {cpu: 8, memory: 64Gi}}]\n" if nodes else ""
    found = scenario("shardTypes: [{use: aws-m7i.2xlarge}]\nmodels: []\n" + given)
    assert found.shard_types[0].provision == provision


def test_only_the_parts_of_the_catalogue_that_are_referred_to_are_kept() -> None:
    found = scenario("""\
        shardTypes: [{use: aws-m7i.2xlarge}]
        models:
          - {name: a, backend: fil, storageUri: "s3://x/a", footprints: [{class: nvidia-l4}, {class: "*"}]}
        """)
    assert [item.name for item in found.device_classes] == ["cpu", "nvidia-l4"]
    assert [item.name for item in found.runtimes] == ["triton"]
    assert [item.name for item in found.backends] == ["fil"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [("", 100), (", maxModels: null", None), (", maxModels: 7", 7)],
)
def test_a_shard_holds_as_many_models_as_are_loaded_in_five_minutes_unless_it_says_more(
    said: str, expected: int | None
) -> None:
    found = scenario(f"""\
        catalog: {{runtimes: [{{name: slow, loads: {{each: 3, atStart: 0.5}}}}]}}
        shardTypes: [{{use: aws-m7i.2xlarge, runtime: slow{said}}}]
        models: []
        """)
    assert found.shard_types[0].max_models == expected
    assert found.runtimes[0].loads == LoadCost(each_ns=3 * 10**9, at_start_ns=5 * 10**8)
    assert parse_scenario(scenario_text(found), file="again") == found


def test_a_server_whose_loads_cost_what_nobody_knows_holds_any_number() -> None:
    found = scenario("""\
        catalog: {runtimes: [{name: own}]}
        shardTypes: [{use: aws-m7i.2xlarge, runtime: own}]
        models: []
        """)
    assert found.shard_types[0].max_models is None


def test_models_are_sorted_and_shard_types_keep_their_order() -> None:
    found = scenario("""\
        shardTypes: [{use: gcp-n2-standard-8, name: z}, {use: gcp-n2-standard-8, name: b}]
        models:
          - &m {name: z, backend: fil, storageUri: "s3://x/a", footprints: [{class: cpu}]}
          - {<<: *m, name: a}
        """)
    assert [item.name for item in found.shard_types] == ["z", "b"]
    assert [item.name for item in found.models] == ["a", "z"]


def test_amounts_are_read_in_every_form() -> None:
    (model,) = scenario("""\
        shardTypes: [{use: gcp-g2-standard-4}]
        models:
          - name: a
            backend: fil
            storageUri: s3://x/a
            footprints:
              - {class: nvidia-l4, gpuMemory: 1Gi, gpuTime: 0.5, cpu: 2, extra: {licenses: 1500m}}
              - {class: nvidia-t4, gpuMemory: {p50: 1Gi, p95: 2Gi}}
              - class: nvidia-a10
                gpuMemory: {steady: {p50: 1Gi, p95: 2Gi}, loadPeak: 3Gi, residual: 1Ki}
        """).models
    one, two, three = model.footprints
    assert one.steady_bytes == one.load_peak_bytes == Amount(p50=GIB, p95=GIB)
    assert (one.device_milli, one.cpu_milli) == (Amount(p50=500, p95=500), Amount(p50=2000, p95=2000))
    assert one.extra == (("licenses", 1500),)
    assert two.load_peak_bytes == Amount(p50=GIB, p95=2 * GIB)
    assert three.load_peak_bytes == Amount(p50=3 * GIB, p95=3 * GIB)
    assert three.residual_bytes == Amount(p50=1024, p95=1024)


def test_a_node_with_a_count_is_so_many_equal_nodes() -> None:
    found = scenario("""\
        shardTypes: []
        models: []
        nodes: [{name: gpu, count: 2, allocatable: {cpu: 8, memory: 1Gi}, devices: [{class: nvidia-t4}]}]
        """)
    assert [node.name for node in found.nodes] == ["gpu-0", "gpu-1"]
    assert found.nodes[0].devices == found.nodes[1].devices


def test_a_gpu_cut_by_mig_is_its_instances() -> None:
    (node,) = scenario("""\
        shardTypes: []
        models: []
        nodes:
          - name: n
            allocatable: {cpu: 8, memory: 1Gi}
            devices:
              - {class: nvidia-t4}
              - {class: nvidia-a100-80gb, mig: [{class: nvidia-a100-80gb-3g.40gb}]}
              - {uuid: GPU-7, mig: [{class: nvidia-a100-80gb-1g.10gb, uuid: MIG-1, foreign: 1Mi}]}
        """).nodes
    assert [(device.device_class, device.parent) for device in node.devices] == [
        ("nvidia-t4", None),
        ("nvidia-a100-80gb-3g.40gb", "1"),
        ("nvidia-a100-80gb-1g.10gb", "GPU-7"),
    ]


def test_yaml_words_and_numbers_that_old_parsers_turn_around_stay_what_they_are() -> None:
    (model,) = scenario("""\
        shardTypes: []
        models:
          - name: a
            backend: fil
            storageUri: s3://x/a
            tenant: no
            together: 12:30
            labels: {day: 2026-01-01, octal: 010}
            footprints: [{class: cpu}]
        """).models
    assert (model.tenant, model.together) == ("no", "12:30")
    assert model.labels == (("day", "2026-01-01"), ("octal", "010"))


def test_json_is_read_as_well() -> None:
    text = (
        '{"apiVersion":"shardpack.dev/v1alpha1","kind":"Scenario","metadata":{"name":"x","namespace":"y"},'
        '"spec":{"shardTypes":[],"models":[],"policy":{"headroom":{"cpu":"3%","memory":0.031}}}}'
    )
    found = parse_scenario(text, file="s.json")
    assert (found.name, found.namespace) == ("x", "y")
    assert (found.policy.headroom.cpu_ppm, found.policy.headroom.memory_ppm) == (30_000, 31_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x00", "is not UTF-8 text (byte 0)"), (b"a: 1\nb: \0\n", "is binary, not text")],
)
def test_files_that_are_no_text_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        load_scenario(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_scenario(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="is a directory"):
        load_scenario(tmp_path)


@pytest.mark.parametrize(
    ("name", "models", "replicas"),
    [
        ("news-by-category", 124, 136),
        ("model-per-user", 1000, 1000),
        ("mixed-gpu-cpu", 20_000, 21_198),
        ("zones-n-plus-1", 984, 2065),
        ("too-small", 142, 142),
    ],
)
def test_the_shipped_scenarios_load(name: str, models: int, replicas: int) -> None:
    found = load_scenario(SCENARIOS / f"{name}.yaml")
    assert len(found.models) == models
    assert sum(model.replicas for model in found.models) == replicas


def test_shipped_scenarios_say_their_idea_first() -> None:
    paths = sorted(SCENARIOS.glob("*.yaml"))
    assert len(paths) >= 5
    assert all(path.read_text(encoding="utf-8").startswith("# ") for path in paths)
