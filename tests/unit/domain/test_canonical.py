"""The canonical text is JSON as the standard library writes it, whatever the values."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from typing import Any

import pytest

from planner.domain.canonical import OMITTED_WHEN_EMPTY, canonical_json, sha256_of
from planner.domain.plan import Bound, Refusal
from planner.domain.rules import Rule
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option, models


@dataclasses.dataclass(frozen=True, slots=True)
class One:
    only: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Nothing:
    pass


class Colour(enum.StrEnum):
    RED = "rot"


def as_json_does(value: object) -> str:
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))


def plain(value: object) -> object:
    """The value as lists and mappings, without what is left out where it is empty."""
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if not dataclasses.is_dataclass(value):
        return value
    return {
        item.name: plain(found)
        for item in dataclasses.fields(value)
        if (found := getattr(value, item.name)) not in (None, ()) or item.metadata != OMITTED_WHEN_EMPTY
    }


@pytest.mark.parametrize(
    "value",
    [
        One(None),
        One(True),
        One(2**70),
        One(-1),
        One(0.1),
        One('a "quoted" ü\n\\ \x00 %s'),
        One(()),
        One((1, ("a", One(None)))),
        One({"b": 1, "a": (One(2),)}),
        One([One("x"), None]),
        One(Colour.RED),
        Nothing(),
        (),
        "text",
        Bound(microusd_per_h=1, method="fluid-lp"),
        Refusal(model="m", replicas=1, rule=Rule.CPU, subject="t", need=2, have=1),
        a_scenario(
            a_model("m", an_option(gpu=GIB, extra=(("a%b", 1),)), labels=(("k", "v"),)), nodes=(a_node(),)
        ),
        a_scenario(types=(a_shard_type(extra=(("x", 5),)),)),
        a_scenario(*models(2500)),  # more than one piece
    ],
    ids=lambda value: str(value)[:30],
)
def test_it_is_what_json_writes(value: object) -> None:
    assert canonical_json(value) == as_json_does(value)


def test_the_hash_is_of_all_pieces() -> None:
    value = a_scenario(*models(2500))
    assert sha256_of(value) == hashlib.sha256(as_json_does(value).encode()).hexdigest()


def test_the_hash_is_of_the_text_and_stays_what_it_was() -> None:
    assert sha256_of(Bound(microusd_per_h=1, method="a")) == (
        "b400b9f6ba83e62c42111eda61f679b5c1f94c2748b739fe35763899b5eba4de"
    )
