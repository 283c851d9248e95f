"""The documents: what the planner writes the agent reads, and the schema says the same."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from agent.desired import (
    DocumentError,
    FixedCost,
    models_json,
    placement_chunks,
    read_models_json,
    read_placement,
)
from tests.support.agent_models import documents, on_gpu, wanted

MODELS = (
    wanted("a", devices=on_gpu(0, 1), instances=2, load_peak_bytes=9, steady_bytes=7, order=3),
    wanted("b", state="standby"),
    wanted("c", devices=()),
)
SCHEMA = json.loads(files("agent").joinpath("placement.schema.json").read_text())


def test_written_documents_satisfy_the_schema_and_are_read_back() -> None:
    texts = documents(*MODELS, max_bytes=500)
    assert len(texts) > 1
    checker = jsonschema.Draft202012Validator(SCHEMA)
    for text in texts.values():
        assert len(text) <= 500
        checker.validate(json.loads(text))
    assert read_placement(texts).models == MODELS


def test_what_has_stayed_of_an_earlier_set_is_not_read_once_more() -> None:
    a, b, c = read_placement(documents(*MODELS)).models
    changed = wanted("b", state="standby", order=1)
    again = read_placement(documents(changed, MODELS[2], wanted("d")), (a, b, c))
    assert again == read_placement(documents(changed, MODELS[2], wanted("d")))
    assert again.models[0] == changed
    assert again.models[1] is c


@pytest.mark.parametrize("value", [True, 1.0])
@pytest.mark.parametrize("field", ["memoryBytes", "order", "index"])
def test_what_only_equals_a_number_is_refused_whatever_was_there_before(field: str, value: object) -> None:
    before = wanted("a", devices=on_gpu(1), memory_bytes=1, order=1)
    (text,) = documents(before).values()
    changed = text.replace(f'"{field}":1', f'"{field}":{json.dumps(value)}')
    assert changed != text
    with pytest.raises(DocumentError, match=rf"{field}: expected int"):
        read_placement({"placement-0.json": changed}, read_placement(documents(before)).models)


def test_fixed_costs_are_written_into_every_chunk_and_change_no_generation() -> None:
    costs = (
        FixedCost(index=0, fixed_bytes=5),
        FixedCost(index=1, uuid="GPU-b", fixed_bytes=7),
    )
    chunks = placement_chunks(shard="s", runtime="triton", models=MODELS, max_bytes=600, fixed=costs)
    assert len(chunks) > 1
    for chunk in chunks:
        assert len(chunk) <= 600
        jsonschema.validate(json.loads(chunk), SCHEMA)
    read = read_placement(dict(zip("abc", chunks, strict=False)))
    plain = read_placement(documents(*MODELS))
    assert read.fixed == costs
    assert (read.generation, plain.fixed) == (plain.generation, ())


def test_chunks_that_differ_in_fixed_costs_do_not_mix() -> None:
    old, new = (
        placement_chunks(
            shard="s",
            runtime="triton",
            models=MODELS,
            max_bytes=600,
            fixed=(FixedCost(index=0, fixed_bytes=size),),
        )
        for size in (5, 6)
    )
    with pytest.raises(DocumentError, match="different fixed costs"):
        read_placement({"a": old[0], "b": new[1]})


def test_the_schema_is_closed_and_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(documents(*MODELS)["placement-0.json"])
    document["models"]["a"]["probe"] = None
    with pytest.raises(jsonschema.ValidationError, match="probe"):
        jsonschema.validate(document, SCHEMA)


def test_an_empty_shard_is_a_document_too() -> None:
    assert read_placement(documents()).models == ()


def test_models_json_is_read_as_kserve_writes_it() -> None:
    text = '[{"modelName":"m","modelSpec":{"storageUri":"s3://b/m","framework":"sklearn","memory":"1.5Gi"}}]'
    (model,) = read_models_json(text).models
    assert (model.storage_uri, model.memory_bytes, model.devices) == ("s3://b/m", 3 << 29, ())
    assert [m.name for m in read_models_json(models_json(MODELS)).models] == ["a", "b", "c"]


def changed(**fields: Any) -> dict[str, str]:
    document = json.loads(documents(*MODELS)["placement-0.json"])
    return {"placement-0.json": json.dumps({**document, **fields})}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, "no placement document"),
        ({"a.json": "{"}, "not JSON"),
        ({"a.json": "[]"}, "expected an object, found list"),
        (changed(version=2), "reads version 1, found 2"),
        ({"a.json": "[" * 100_000}, "not JSON"),
        (changed(chunks=10**15), "1000000000000000 placement documents are announced"),
        (changed(chunks=2), r"2 placement documents are announced, found \[0\]"),
        (changed(models={}), "does not hash"),
        (changed(devices={}), r"devices: expected list, found dict"),
        (changed(devices=[{"index": 0, "uuid": 1, "fixedBytes": 0}]), r"devices\[0\].uuid: expected text"),
        (changed(devices=[{"index": 0, "uuid": None, "fixedBytes": -1}]), "fixedBytes: -1 is negative"),
        (changed(generation="f" * 64), "does not hash"),
        (changed(models={"../up": {}}), "expected str, found NoneType"),
        (changed(chunk=1 << 63), "chunk: a number of 2\\^63 or more"),
        (changed(devices=[{"index": 0, "uuid": None, "fixedBytes": 10**400}]), "fixedBytes: a number of"),
        (changed(devices=[{"index": 0, "uuid": "\udcff", "fixedBytes": 0}]), r"uuid: '\\udcff' is not text"),
        (changed(generation="\ud800"), r"generation: '\\ud800' is not text"),
        (changed(models={"\ud800": {}}), r"models: '\\ud800' is not text"),
    ],
)
def test_documents_that_cannot_be_obeyed(texts: dict[str, str], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        read_placement(texts)


def test_chunks_of_two_generations_do_not_mix() -> None:
    old, new = documents(*MODELS, max_bytes=500), documents(*MODELS[:2], max_bytes=500)
    with pytest.raises(DocumentError, match="different generations"):
        read_placement({**old, "placement-0.json": new["placement-0.json"]})


def test_documents_of_two_shards_do_not_mix() -> None:
    other = placement_chunks(shard="news-2", runtime="triton", models=MODELS, max_bytes=900_000)
    with pytest.raises(DocumentError, match=r"different shards \(news-1, news-2\): a.json, placement-0.json"):
        read_placement({**documents(*MODELS), "a.json": other[0]})


@pytest.mark.parametrize(
    ("memory", "in_bytes"),
    [
        ("1Gi", 1 << 30),
        ("1.5Ki", 1536),
        ("2Ei", 2 << 60),
        ("3P", 3 * 10**15),
        ("1e3", 1000),
        ("7.", 7),
        (5, 5),
    ],
)
def test_memory_is_kubernetes_quantity(memory: object, in_bytes: int) -> None:
    entry = {"modelName": "m", "modelSpec": {"storageUri": "x", "framework": "x", "memory": memory}}
    assert read_models_json(json.dumps([entry])).models[0].memory_bytes == in_bytes


@pytest.mark.parametrize("memory", ["9" * 5000, "9" * 400 + ".0Ti", "1Xi", "-1", "", None, "1e99", "٣"])
def test_memory_that_is_none_is_refused(memory: object) -> None:
    entry = {"modelName": "m", "modelSpec": {"storageUri": "x", "framework": "x", "memory": memory}}
    with pytest.raises(DocumentError, match="is not an amount of memory"):
        read_models_json(json.dumps([entry]))


@pytest.mark.parametrize("memory", ["9999999999999999999", "8Ei", 1 << 63])
def test_memory_that_nothing_counts_to_is_refused(memory: object) -> None:
    entry = {"modelName": "m", "modelSpec": {"storageUri": "x", "framework": "x", "memory": memory}}
    with pytest.raises(DocumentError, match="bytes or more"):
        read_models_json(json.dumps([entry]))


@pytest.mark.parametrize("field", ["loadPeakBytes", "steadyBytes", "memoryBytes", "instances", "order"])
def test_a_models_number_that_nothing_counts_to_is_refused(field: str) -> None:
    entry = json.loads(documents(*MODELS)["placement-0.json"])["models"]["a"]
    for number, accepted in ((10**400, False), (1 << 63, False), ((1 << 63) - 1, True)):
        texts = changed(models={"a": {**entry, field: number}})
        with pytest.raises(DocumentError, match="does not hash" if accepted else f"a.{field}: a number of"):
            read_placement(texts)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a b", "", "-a", "a%2e", "é"])
def test_a_name_that_is_no_path_segment_is_refused(name: str) -> None:
    entry = {"modelName": name, "modelSpec": {"storageUri": "x", "framework": "x", "memory": "1"}}
    with pytest.raises(DocumentError, match="is not a model name"):
        read_models_json(json.dumps([entry]))


def test_a_model_too_large_for_a_document_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs \d+ bytes"):
        placement_chunks(shard="s", runtime="triton", models=MODELS, max_bytes=300)


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 600])
def test_a_generation_is_the_hash_of_all_entries_as_one_object(count: int) -> None:
    models = [wanted(f"m{number}") for number in range(count)]
    texts = documents(*models, max_bytes=20_000)
    entries = {name: entry for text in texts.values() for name, entry in json.loads(text)["models"].items()}
    whole = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()
    assert read_placement(texts).generation == hashlib.sha256(whole).hexdigest()
