"""What holds for the manifests and the differences of all plans."""

from __future__ import annotations

import itertools
import json
import random
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.resources import files

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.desired import DesiredModel, placement_chunks, read_models_json, read_placement
from planner.domain.difference import apply_diff, diff_plans
from planner.domain.memory import models_json_entry_bytes
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Plan, Refusal
from planner.domain.rules import Rule
from planner.manifests import config_map_usage, render_plan
from tests.support.builders import GIB, MIB, a_model, a_scenario, a_shard_type, an_option
from tests.support.kubernetes_objects import KSERVE, KUSTOMIZE, core_faults, narrow_faults, objects_in
from tests.support.plans import a_plan, a_shard, on

PLACEMENT_SCHEMA = json.loads(files("agent").joinpath("placement.schema.json").read_text())

_SHARDS = ("t", "t-1", "t-2", "u")
_MODELS = tuple(f"m-{number}" for number in range(6))


WORLD = a_scenario(
    *(
        a_model(name, an_option(gpu=number * MIB, peak=GIB), an_option(host=MIB), replicas=3)
        for number, name in enumerate(_MODELS)
    ),
    types=(a_shard_type("t", device_count=2), a_shard_type("u", device_count=2)),
)


@st.composite
def placements(draw: st.DrawFn) -> tuple[Shard | Placed, ...]:
    """Shards and replicas that refer to each other; not every placement is legal, but every one is sound."""
    shards = draw(st.lists(st.sampled_from(_SHARDS), unique=True, min_size=1))
    keys = draw(st.lists(st.tuples(st.sampled_from(_MODELS), st.integers(0, 2)), unique=True, max_size=12))
    return (
        *(a_shard(name, name[0]) for name in shards),
        *(
            on(
                model,
                draw(st.sampled_from(shards)),
                draw(st.integers(0, 1)),
                replica=replica,
                option=draw(st.integers(0, 1)),
            )
            for model, replica in keys
        ),
    )


@st.composite
def servable(draw: st.DrawFn) -> Plan:
    """A plan in which no shard holds a model twice, as no server can."""
    seen: set[tuple[str, str]] = set()
    kept: list[Shard | Placed] = []
    for item in draw(placements()):
        if isinstance(item, Placed):
            if (item.model, item.shard) in seen:
                continue
            seen.add((item.model, item.shard))
        kept.append(item)
    return a_plan(WORLD, *kept)


@given(placements(), placements())
def test_applying_a_difference_gives_the_other_plan(one, other):
    before, after = a_plan(WORLD, *one), a_plan(WORLD, *other)
    assert apply_diff(diff_plans(before, after), before.placement) == after.placement


@given(placements(), placements())
def test_the_way_back_swaps_everything(one, other):
    before, after = a_plan(WORLD, *one), a_plan(WORLD, *other)
    there, back = diff_plans(before, after), diff_plans(after, before)
    assert (there.opened, there.added, there.refused) == (back.closed, back.removed, back.accepted)
    assert {(item.before, item.after) for item in there.moved} == {
        (item.after, item.before) for item in back.moved
    }
    assert there.is_empty == (before.placement == after.placement)


@settings(max_examples=25)  # Kubernetes' schemas take a while
@given(servable())
def test_every_object_is_valid(plan):
    for file in render_plan(plan, WORLD):
        for item in objects_in(file.text):
            if item["apiVersion"].startswith(KSERVE):
                assert narrow_faults(item) == []
            elif not item["apiVersion"].startswith(KUSTOMIZE):
                assert core_faults(item) == []


@given(servable())
def test_every_replica_is_in_one_document_and_every_model_in_one_models_json(plan):
    asked: list[tuple[str, str]] = []
    parents: list[tuple[str, str]] = []
    for item in (item for file in render_plan(plan, WORLD) for item in objects_in(file.text)):
        for key, text in item.get("data", {}).items():
            if key != "models.json":
                jsonschema.validate(json.loads(text), PLACEMENT_SCHEMA)
            found = read_models_json(text) if key == "models.json" else read_placement({key: text})
            shard = item["metadata"]["labels"]["shardpack.dev/shard"]
            target = parents if key == "models.json" else asked
            target.extend((model.name, shard) for model in found.models)
    assert sorted(asked) == sorted((placed.model, placed.shard) for placed in plan.placement.placed)
    assert sorted(model for model, _ in parents) == sorted({model for model, _ in asked})
    assert set(parents) <= set(asked)


@given(servable(), st.randoms(use_true_random=False))
def test_equal_plans_give_equal_bytes_in_whatever_order_they_were_found(plan, chance):
    shuffled = replace(plan, placement=_shuffled(plan.placement, chance))
    assert render_plan(plan, WORLD) == render_plan(shuffled, WORLD)


def _shuffled(placement: Placement, chance: random.Random) -> Placement:
    shards, placed = list(placement.shards), list(placement.placed)
    chance.shuffle(shards)
    chance.shuffle(placed)
    return Placement(shards=tuple(shards), placed=tuple(placed))


@given(servable(), st.data())
def test_moving_one_replica_to_another_device_changes_only_its_shards_documents(plan, data):
    if not plan.placement.placed:
        return
    old = data.draw(st.sampled_from(plan.placement.placed))
    new = replace(old, devices=(1 - old.devices[0],))
    placed = tuple(new if item == old else item for item in plan.placement.placed)
    before = {file.path: file.text for file in render_plan(plan, WORLD)}
    changed = replace(plan, placement=replace(plan.placement, placed=placed))
    after = {file.path: file.text for file in render_plan(changed, WORLD)}
    assert before.keys() == after.keys()
    differing = {path for path in before if before[path] != after[path]}
    assert differing <= {f"shards/{old.shard}/configmaps.yaml"}


@given(servable(), st.data())
def test_moving_one_replica_to_another_shard_changes_only_the_shards_of_its_model(plan, data):
    if not plan.placement.placed or len(plan.placement.shards) < 2:
        return
    old = data.draw(st.sampled_from(plan.placement.placed))
    holders = {item.shard for item in plan.placement.placed if item.model == old.model}
    free = sorted({shard.name for shard in plan.placement.shards} - holders)
    if not free:
        return
    target = data.draw(st.sampled_from(free))
    placed = tuple(replace(old, shard=target) if item == old else item for item in plan.placement.placed)
    before = {file.path: file.text for file in render_plan(plan, WORLD)}
    changed = replace(plan, placement=replace(plan.placement, placed=placed))
    after = {file.path: file.text for file in render_plan(changed, WORLD)}
    differing = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    touched = {path.split("/")[1] for path in differing if path.startswith("shards/")}
    assert touched <= holders | {target}
    assert {path for path in differing if not path.startswith("shards/")} <= {"kustomization.yaml"}


@given(servable())
def test_usage_is_what_is_written(plan):
    written = {
        item["metadata"]["name"]: item["data"]
        for file in render_plan(plan, WORLD)
        for item in objects_in(file.text)
        if item["kind"] == "ConfigMap"
    }
    for usage in config_map_usage(plan, WORLD):
        assert usage.models_json_bytes == len(written[f"modelconfig-{usage.shard}-0"]["models.json"])
        documents = [
            written[f"shardpack-{usage.shard}-{chunk}"][f"placement-{chunk}.json"]
            for chunk in range(usage.placement_documents)
        ]
        assert usage.placement_bytes == sum(map(len, documents))


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=40), max_size=8)
)
def test_any_uri_is_counted_in_bytes_and_written_as_it_is(uris):
    fleet = tuple(
        a_model(f"m-{number}", an_option(gpu=1, host=MIB), storage_uri=f"s3://{uri}")
        for number, uri in enumerate(uris)
    )
    scenario = a_scenario(*fleet)
    plan = a_plan(scenario, *(on(model.name) for model in fleet))
    (usage,) = config_map_usage(plan, scenario)
    entries = sum(map(models_json_entry_bytes, fleet))
    assert usage.models_json_bytes == len("[]") + max(0, entries - 1)  # the last has no comma
    written = [item for file in render_plan(plan, scenario) for item in objects_in(file.text)]
    (data,) = (
        item["data"]["models.json"]
        for item in written
        if item["kind"] == "ConfigMap" and "models.json" in item["data"]
    )
    assert len(data.encode()) == usage.models_json_bytes
    assert [model.storage_uri for model in read_models_json(data).models] == [
        model.storage_uri for model in scenario.models
    ]
    trained = [item["spec"]["model"]["storageUri"] for item in written if item["kind"] == "TrainedModel"]
    assert trained == [model.storage_uri for model in scenario.models]


_ODD = tuple(
    DesiredModel(
        name=f"m{number}", storage_uri="s3://\u00fc/" + "x" * number, framework="onnx", memory_bytes=number
    )
    for number in range(0, 40, 3)
)


@given(st.integers(0, 4_000))
def test_documents_of_every_size_are_within_it_and_read_back(more):
    max_bytes = _least_bytes() + more
    texts = placement_chunks(shard="t", runtime="triton", models=_ODD, max_bytes=max_bytes)
    assert max(len(text.encode()) for text in texts) <= max_bytes
    found = read_placement({str(number): text for number, text in enumerate(texts)})
    assert sorted(model.name for model in found.models) == sorted(model.name for model in _ODD)


@cache
def _least_bytes() -> int:
    """The least size that takes the largest entry: one byte less is refused, with its number."""
    for max_bytes in itertools.count(300):
        with suppress(ValueError):
            placement_chunks(shard="t", runtime="triton", models=_ODD, max_bytes=max_bytes)
            break
    with pytest.raises(ValueError, match=f"of a placement document of {max_bytes - 1}$"):
        placement_chunks(shard="t", runtime="triton", models=_ODD, max_bytes=max_bytes - 1)
    return max_bytes


def test_plans_that_place_nothing_are_written():
    """Nothing to place, and everything refused: the namespace and the account are all there is."""
    refused = Refusal(model="m-0", replicas=3, rule=Rule.MAX_COUNT, subject="t", need=1, have=0)
    nothing = a_plan(WORLD, a_shard())
    for plan in (nothing, replace(nothing, refusals=(refused,))):
        empty = replace(plan, placement=Placement())
        assert [file.path for file in render_plan(empty, WORLD)] == [
            "kustomization.yaml",
            "namespace.yaml",
            "serviceaccount.yaml",
        ]
