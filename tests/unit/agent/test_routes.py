"""The documents that gateways route by: written, read back, and refused where they are wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.desired import DocumentError
from agent.routes import Routes, read_routes, routes_chunks, routes_of, split_address

SHARDS = {"news": "news-shard.models.svc:80", "news-1": "10.0.0.7:8080"}


def some_routes(count: int = 3) -> Routes:
    models = {f"model-{number}": ["news"] for number in range(count)}
    return routes_of(group="news", shards=SHARDS, models={**models, "moves": ["news-1", "news"], "waits": []})


def written(routes: Routes, max_bytes: int = 10_000) -> dict[str, str]:
    chunks = routes_chunks(routes, max_bytes=max_bytes)
    return {f"routes-{number}.json": text for number, text in enumerate(chunks)}


@pytest.mark.parametrize("max_bytes", [10_000, 500])
def test_what_is_written_is_read(max_bytes: int) -> None:
    routes = some_routes(40)
    texts = written(routes, max_bytes)
    assert (len(texts) > 1) == (max_bytes == 500)
    assert all(len(text) <= max_bytes for text in texts.values())
    assert read_routes(texts) == routes


def test_equal_routes_are_of_one_generation() -> None:
    again = routes_of(
        group="news",
        shards=dict(reversed(SHARDS.items())),
        models={"waits": (), "moves": ("news-1", "news"), **{f"model-{n}": ("news",) for n in (2, 1, 0)}},
    )
    assert again == some_routes()
    assert again.generation == some_routes().generation
    assert some_routes(4).generation != some_routes().generation


def test_no_models_are_one_document() -> None:
    routes = routes_of(group="news", shards={}, models={})
    assert read_routes(written(routes)) == routes


def test_addresses_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="2 shards leave no room for model 'model-0'"):
        routes_chunks(some_routes(), max_bytes=200)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"version": 2}, "reads 1, found 2"),
        ({"models": {"m;}": ["news"]}}, "'m;}' is not the name of a model"),
        ({"models": {"m": ["else"]}}, "shard 'else' has no address"),
        ({"models": {"m": "news"}}, "expected a list of shards"),
        ({"models": {"m": [1]}}, "expected a list of shards"),
        ({"shards": {"news": "host"}}, "is not an address"),
        ({"shards": {"news": 7}}, "expected string"),
        ({"shards": {"n s": "host:1"}}, "is not the name of a shard"),
        ({"group": 'a"; return 200'}, "is not the name of a group"),
        ({"chunk": True}, "expected int"),
        ({"chunk": 3}, r"1 documents are announced, found \[3\]"),
        ({"generation": "0"}, "does not hash to 0"),
    ],
)
def test_what_is_wrong_is_told(wrong: dict[str, Any], message: str) -> None:
    (text,) = written(some_routes()).values()
    with pytest.raises(DocumentError, match=message):
        read_routes({"routes-0.json": json.dumps({**json.loads(text), **wrong})})


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_what_is_no_document_is_told(text: str) -> None:
    with pytest.raises(DocumentError):
        read_routes({"routes-0.json": text})


def test_documents_that_do_not_belong_together_are_refused() -> None:
    before, after = written(some_routes(40), 500), written(some_routes(41), 500)
    with pytest.raises(DocumentError, match="different generations"):
        read_routes({**before, "routes-1.json": after["routes-1.json"]})
    with pytest.raises(DocumentError, match="incomplete set"):
        read_routes({name: text for name, text in before.items() if name != "routes-1.json"})
    with pytest.raises(DocumentError, match="no document"):
        read_routes({})


@pytest.mark.parametrize(
    ("address", "expected"),
    [("news.models.svc:80", ("news.models.svc", 80)), ("[fd00::1]:8080", ("[fd00::1]", 8080))],
)
def test_addresses_are_split(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize(
    "address", ["host", "host:0", "host:65536", ":80", "a b:80", "h;:80", "[fd00::1;]:80"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(DocumentError, match="is not an address"):
        split_address(address)


def routes_through(count: int = 2) -> Routes:
    """Models of which all but the first pass through one service."""
    models = {f"model-{number}": ["news"] for number in range(count)}
    return routes_of(
        group="news",
        shards=SHARDS,
        models=models,
        services={"scale": "10.0.0.9:80"},
        through=dict.fromkeys(list(models)[1:], "scale"),
    )


@pytest.mark.parametrize("max_bytes", [10_000, 600])
def test_routes_through_services_are_read_as_they_are_written(max_bytes: int) -> None:
    routes = routes_through(40)
    texts = written(routes, max_bytes)
    assert (len(texts) > 1) == (max_bytes == 600)
    assert all(len(text) <= max_bytes for text in texts.values())
    assert read_routes(texts) == routes


def test_what_models_pass_through_is_part_of_the_generation() -> None:
    straight = routes_of(group="news", shards=SHARDS, models={"model-0": ["news"], "model-1": ["news"]})
    assert routes_through().generation != straight.generation
    assert "through" not in json.loads(written(straight)["routes-0.json"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"through": {"other": "scale"}}, "'other' is not a model of the group"),
        ({"through": {"m": "absent"}}, "service 'absent' has no address"),
        ({"through": {}}, "'scale' is no model's"),
        ({"services": {"scale": "nowhere"}}, "is not an address"),
        ({"services": {"Scale!": "10.0.0.9:80"}}, "is not the name of a service"),
    ],
)
def test_a_way_that_leads_nowhere_is_refused(fields: dict[str, Any], message: str) -> None:
    sound = {"services": {"scale": "10.0.0.9:80"}, "through": {"m": "scale"}}
    with pytest.raises(DocumentError, match=message):
        routes_of(group="news", shards=SHARDS, models={"m": ["news"]}, **{**sound, **fields})


@pytest.mark.parametrize("value", ["scale", {"model-1": 1}])
def test_a_document_whose_services_are_no_names_is_refused(value: object) -> None:
    document = json.loads(written(routes_through())["routes-0.json"])
    with pytest.raises(DocumentError, match=r"routes-0.json.through: expected names and text"):
        read_routes({"routes-0.json": json.dumps({**document, "through": value})})
