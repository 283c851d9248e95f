"""The shipped catalogue: consistent, and every figure with its source."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest

from planner.domain.fleet import ShardType
from planner.domain.mig import fits, profiles_of
from planner.scenario.catalogue import shipped_catalogue
from planner.scenario.load import parse_scenario

CATALOGUE = shipped_catalogue()
FILES = ("gpus", "runtimes", "backends", "shard_types")
ORIGIN = re.compile(r"https://[\w.-]+\.\w+/\S+|\bnominal\b|\bnot confirmed\b|\bmeasured with\b")


def entries_of(name: str) -> list[dict[str, str]]:
    """The entries of one of the catalogue's files as they are written."""
    text = (resources.files("planner.scenario") / "catalog" / f"{name}.json").read_text(encoding="utf-8")
    (items,) = (value for key, value in json.loads(text)["spec"].items() if key != "version")
    assert isinstance(items, list)
    return items


def shard_types() -> tuple[ShardType, ...]:
    """Every template of the catalogue as a shard type of one scenario."""
    entries = [{"use": name} for name in sorted(CATALOGUE.templates)]
    document = {
        "apiVersion": "shardpack.dev/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": "all"},
        "spec": {"shardTypes": entries, "models": []},
    }
    return parse_scenario(json.dumps(document), file="all.json").shard_types


@pytest.mark.parametrize("name", FILES)
def test_every_entry_has_a_source_and_every_file_a_version(name: str) -> None:
    text = (resources.files("planner.scenario") / "catalog" / f"{name}.json").read_text(encoding="utf-8")
    spec = json.loads(text)["spec"]
    assert spec["version"]
    (items,) = (value for key, value in spec.items() if key != "version")
    assert len(items) >= 6
    assert all(len(item["source"]) > 20 for item in items)
    assert [item["name"] for item in items] == list(dict.fromkeys(item["name"] for item in items))


@pytest.mark.parametrize("name", FILES)
def test_every_source_has_an_address_or_says_that_it_has_none(name: str) -> None:
    sources = {item["name"]: item.get("source", "") for item in entries_of(name)}
    assert [key for key, source in sources.items() if not ORIGIN.search(source)] == []
    assert [key for key, source in sources.items() if "from memory" in source] == []


def test_every_price_names_the_table_and_the_commit_it_was_checked_against() -> None:
    table = re.compile(r"https://github\.com/\S+ \S+\.csv at commit [0-9a-f]{12}\b")
    unchecked = [item["name"] for item in entries_of("shard_types") if not table.search(item["source"])]
    assert unchecked == []


def test_the_known_totals_are_those_that_nvml_reports() -> None:
    known = {"nvidia-t4": 15360, "nvidia-l4": 23034, "nvidia-h100-80gb": 81559, "nvidia-h200": 143_771}
    for name, mib in known.items():
        assert CATALOGUE.device_classes[name].memory_bytes == mib * 2**20


def test_every_mig_class_is_a_profile_of_its_product() -> None:
    cut = [item for item in CATALOGUE.device_classes.values() if item.mig_profile is not None]
    assert len(cut) >= 20
    for item in cut:
        assert item.product is not None
        assert fits(item.product, [item.mig_profile or ""]), item.name
        assert item.mig_profile in {profile.name for profile in profiles_of(item.product)}


def test_instances_of_a_gpu_have_less_memory_than_the_gpu() -> None:
    whole = {
        item.product: item.memory_bytes
        for item in CATALOGUE.device_classes.values()
        if item.mig_profile is None and item.product
    }
    for item in CATALOGUE.device_classes.values():
        if item.mig_profile is not None:
            assert item.memory_bytes < whole[item.product or ""], item.name


def test_every_shard_type_can_be_used_as_it_stands() -> None:
    found = shard_types()
    assert len(found) == len(CATALOGUE.templates) >= 12
    assert all(item.price_microusd_per_h > 0 for item in found)


def test_a_copy_of_the_catalogue_can_be_changed_without_harm() -> None:
    shipped_catalogue().device_classes.clear()
    assert "cpu" in shipped_catalogue().device_classes
