"""What TrainedModels and fleet documents say."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from planner.controller.fleet import Fleet, read_fleet
from planner.controller.views import read_config_map, read_model
from planner.controller.wishes import WishError, group_of, said_in, wish_of
from planner.domain.model import Model
from planner.errors import InputError
from tests.support.builders import GIB, MIB
from tests.support.memory_cluster import NAMESPACE, a_fleet_text, a_trained_model, fleet_map

CPU_TYPE = """\
    - name: plain
      runtime: triton
      devices: {class: cpu}
      resources: {cpu: "8", memory: 64Gi}
      group: news
"""


def a_fleet(text: str | None = None) -> Fleet:
    view = read_config_map(fleet_map(text or a_fleet_text(extra=CPU_TYPE)))
    return read_fleet(view, namespace=NAMESPACE)


def wish(**more: Any) -> Model:
    fleet = a_fleet()
    return wish_of(read_model(a_trained_model("m", **more)), fleet, "news")


def test_memory_alone_is_host_memory_and_on_gpus_theirs() -> None:
    on_gpu, on_cpu = wish(memory="2Gi").footprints
    assert (on_gpu.device_class, on_gpu.steady_bytes.p95, on_gpu.memory_bytes.p95) == (
        "nvidia-t4",
        2 * GIB,
        2 * GIB,
    )
    assert (on_cpu.device_class, on_cpu.steady_bytes.p95, on_cpu.memory_bytes.p95) == ("cpu", 0, 2 * GIB)
    assert on_gpu.source == "declared"


def test_the_annotation_says_what_a_trained_model_has_no_field_for() -> None:
    footprint = {
        "class": "nvidia-t4",
        "gpuMemory": {"steady": "1Gi", "loadPeak": "2Gi"},
        "source": "measured",
    }
    model = wish(memory="300Mi", says={"replicas": 2, "priority": 7, "footprints": [footprint]})
    assert (model.replicas, model.priority, model.backend) == (2, 7, "onnxruntime")
    (option,) = model.footprints
    assert (option.steady_bytes.p95, option.load_peak_bytes.p95) == (GIB, 2 * GIB)
    assert option.memory_bytes.p95 == 300 * MIB
    assert option.source == "measured"


@pytest.mark.parametrize(("counts", "memory"), [(True, 3 * GIB), (False, GIB)])
def test_what_kserve_checks_is_the_least_that_a_footprint_takes(counts: bool, memory: int) -> None:
    view = read_config_map(fleet_map(a_fleet_text()))
    fleet = read_fleet(view, namespace=NAMESPACE, counts_memory=counts)
    says = {"footprints": [{"class": "nvidia-t4", "gpuMemory": "5Gi", "memory": "1Gi"}]}
    model = wish_of(read_model(a_trained_model("m", memory="3Gi", says=says)), fleet, "news")
    (option,) = model.footprints
    assert (option.memory_bytes.p50, option.memory_bytes.p95) == (memory, memory)
    assert option.steady_bytes.p95 == 5 * GIB
    more = {"footprints": [{"class": "nvidia-t4", "gpuMemory": "5Gi", "memory": "7Gi"}]}
    model = wish_of(read_model(a_trained_model("m", memory="3Gi", says=more)), fleet, "news")
    assert model.footprints[0].memory_bytes.p95 == 7 * GIB


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ({"replicas": 0}, "replicas"),
        ({"name": "other"}, "name is the object's own"),
        ({"backend": "cobol"}, "'cobol' is not known"),
        ({"footprints": [{"class": "nvidia-nope"}]}, r"footprints\[0\]\.class: there is no device class"),
        ({"footprints": [{"class": "nvidia-t4"}] * 2}, r"footprints\[1\]: a second footprint for class"),
        ({"footprints": [{"class": "cpu", "gpuMemory": "1Gi"}]}, "'cpu' is a CPU: it has no GPU memory"),
        ({"devicesPerReplica": 4}, "devicesPerReplica: 4 devices, but no shard type has more than 1"),
        ({"pin": {"shard": "nope"}}, r"pin\.shard: there is no group with a shard called 'nope'"),
        ({"pin": {"shard": "news-2", "device": 1}}, r"pin\.device: shards of that group have devices 0 to 0"),
        ({"colour": "blue"}, "unknown field 'colour'"),
        ({"footprints": ["x"]}, r"footprints\[0\]: expected a mapping, found the text 'x'"),
        ({"footprints": [7]}, r"footprints\[0\]: expected a mapping, found the number 7"),
        ({"footprints": 5}, "footprints: expected a list"),
        ({"footprints": True}, "footprints: expected a list"),
        ({"footprints": {}}, "footprints: expected a list"),
        ({"footprints": None}, "footprints: expected a list"),
        ({"footprints": []}, "footprints: expected at least 1"),
        ({"replicas": "2"}, "replicas: expected a whole number, found the text '2'"),
    ],
)
def test_what_cannot_be_is_told(says: dict[str, Any], told: str) -> None:
    with pytest.raises(WishError, match=told):
        wish(says=says)


def test_a_shard_of_another_group_is_none_to_be_pinned_to() -> None:
    fleet = a_fleet(a_fleet_text(extra=CPU_TYPE.replace("group: news", "group: sports")))
    view = read_model(a_trained_model("m", parent="sports", says={"pin": {"shard": "sports-1"}}))
    assert wish_of(view, fleet, "sports").pin is not None
    with pytest.raises(WishError, match=r"pin\.shard: .*'sports-1'"):
        wish_of(view, fleet, "news")


def test_a_model_may_say_what_it_takes_of_devices_that_its_fleet_does_not_have() -> None:
    model = wish(says={"footprints": [{"class": name} for name in ("nvidia-t4", "nvidia-l4", "*")]})
    assert [option.device_class for option in model.footprints] == ["nvidia-t4", "nvidia-l4", "*"]


def test_an_annotation_that_scenarios_read_is_not_passed_over() -> None:
    item = a_trained_model("m")
    item["metadata"]["annotations"]["shardpack.dev/replicas"] = "2"
    before = said_in(read_model(item))
    with pytest.raises(WishError, match=r"shardpack\.dev/replicas: only shardpack\.dev/model is read"):
        wish_of(read_model(item), a_fleet(), "news")
    item["metadata"]["annotations"]["shardpack.dev/model"] = '{"replicas": 3}'
    assert wish_of(read_model(item), a_fleet(), "news").replicas == 3
    assert said_in(read_model(item)) != before != said_in(read_model(a_trained_model("m")))


class _Torn(dict[str, str]):
    """Annotations that cannot be read in a way that nobody thought of."""

    def get(self, *_: Any) -> Any:
        raise ZeroDivisionError("torn")


def test_what_nobody_thought_of_is_the_fault_of_one_model(caplog: pytest.LogCaptureFixture) -> None:
    view = dataclasses.replace(read_model(a_trained_model("m")), annotations=_Torn())
    with pytest.raises(WishError, match=r"cannot be read: ZeroDivisionError\('torn'\)"):
        wish_of(view, a_fleet(), "news")
    (record,) = caplog.records
    assert record.getMessage() == "model m cannot be read"
    assert record.exc_info is not None


@pytest.mark.parametrize("text", ["{", "[]", "7", "[" * 100_000])
def test_an_annotation_that_is_no_object_is_told(text: str) -> None:
    item = a_trained_model("m")
    item["metadata"]["annotations"]["shardpack.dev/model"] = text
    with pytest.raises(WishError, match=r"shardpack\.dev/model"):
        wish_of(read_model(item), a_fleet(), "news")


@pytest.mark.parametrize(
    ("parent", "label", "group"),
    [
        ("news", None, "news"),
        ("news-12", None, "news"),
        ("newsroom", None, None),
        ("news-x", None, None),
        ("anything", "news", "news"),
        ("news", "sports", None),
    ],
)
def test_a_label_or_the_parent_names_the_group(parent: str, label: str | None, group: str | None) -> None:
    labels = {} if label is None else {"shardpack.dev/group": label}
    view = read_model(a_trained_model("m", parent=parent, labels=labels))
    assert group_of(view, a_fleet()) == group


def test_a_fleet_knows_all_backends_and_classes_and_no_models() -> None:
    fleet = a_fleet()
    assert fleet.scenario.models == ()
    assert {"onnxruntime", "pytorch", "python"} <= set(fleet.parts.backends)
    assert {"cpu", "nvidia-t4", "nvidia-l4"} <= set(fleet.parts.device_classes)
    assert fleet.groups == ("news",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "fleet"),
        (a_fleet_text().replace("namespace: models", "namespace: other"), "its ConfigMap is in 'models'"),
        (a_fleet_text().replace("nvidia-t4", "nvidia-t44"), "nvidia-t4"),
        (
            a_fleet_text(
                extra="  models: [{name: m, backend: python, storageUri: 's3://m', "
                "footprints: [{class: '*', memory: 1Mi}]}]"
            ),
            "a fleet has no models",
        ),
    ],
)
def test_a_fleet_with_faults_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        a_fleet(text or "kind: Nothing")


def test_a_config_map_without_the_document_is_refused() -> None:
    item = fleet_map("")
    item["data"] = {"other.yaml": ""}
    with pytest.raises(InputError, match=r"data.scenario.yaml: is required"):
        read_fleet(read_config_map(item), namespace=NAMESPACE)
    assert json.dumps(item)


TRANSFORMERS = "  transformers: [{name: scale, image: x, resources: {cpu: 1, memory: 1Gi}}]\n"


def test_a_model_names_a_transformer_of_its_fleet_or_none() -> None:
    fleet = a_fleet(a_fleet_text() + TRANSFORMERS)
    assert set(fleet.parts.transformers) == {"scale"}
    view = read_model(a_trained_model("m", says={"transformer": "scale"}))
    assert wish_of(view, fleet, "news").transformer == "scale"
    with pytest.raises(WishError, match="'scale' is not of the fleet; it has none"):
        wish(says={"transformer": "scale"})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("s" * 60, "characters, and 63 is most"),
        ("7", "has the name of a shard of group 'news-transformer'"),
    ],
)
def test_a_transformer_whose_service_could_not_be_called_so_is_refused(name: str, told: str) -> None:
    text = a_fleet_text(extra=CPU_TYPE.replace("group: news", "group: news-transformer"))
    with pytest.raises(InputError, match=told):
        a_fleet(text + TRANSFORMERS.replace("scale", f"'{name}'"))
