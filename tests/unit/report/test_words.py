"""Amounts, refusals and violations in words."""

from __future__ import annotations

import pytest

from planner.domain.plan import Refusal
from planner.domain.rules import Rule, Violation
from planner.report.words import (
    RULE_NAMES,
    amount,
    plural,
    refusal_groups,
    refusal_reason,
    refusal_sentence,
    violation_sentence,
)
from tests.support.builders import GIB


def a_refusal(rule: Rule = Rule.DEVICE_MEMORY, **more: object) -> Refusal:
    fields = {"model": "m", "replicas": 1, "subject": "gpu-16", "need": 20 * GIB, "have": 15 * GIB}
    return Refusal(rule=rule, **{**fields, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (15 * GIB, "bytes", "15Gi"),
        (250, "milli", "250m"),
        (526_000, "microusd", "0.526 USD/h"),
        (1, "models", "1 model"),
        (2_000, "models", "2,000 models"),
        (1, "addresses", "1 address"),
    ],
)
def test_an_amount_has_its_unit(value: int, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_one_is_singular_and_thousands_are_readable() -> None:
    assert (plural(1, "shard"), plural(0, "shard"), plural(12_000, "shard")) == (
        "1 shard",
        "0 shards",
        "12,000 shards",
    )


def test_a_refusal_says_who_why_how_much_and_whether_it_is_proven() -> None:
    sentence = refusal_sentence(a_refusal(proven=True, replicas=2))
    assert sentence == (
        "m: 2 replicas refused: needs 20Gi of GPU memory, and gpu-16 has room for 15Gi; "
        "no plan could place more [device-memory]"
    )
    assert refusal_reason(a_refusal(proven=False)).endswith("the search found no room")


def test_what_the_clock_left_untried_claims_neither_a_proof_nor_a_search() -> None:
    reason = refusal_reason(a_refusal(Rule.ACCOUNTED, subject="time limit", need=None, have=None))
    assert reason == "a shard could be opened for it; the time limit ended the search before it was tried"


def test_numbers_that_round_alike_are_written_out() -> None:
    reason = refusal_reason(a_refusal(need=16 * GIB + 1, have=16 * GIB))
    assert "needs 17,179,869,185 bytes" in reason
    assert "has room for 17,179,869,184 bytes" in reason


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("numbers", [(3, 2), (None, None)])
def test_every_rule_has_a_sentence_for_a_refusal_and_a_violation(
    rule: Rule, numbers: tuple[int | None, int | None]
) -> None:
    need, have = numbers
    refusal = refusal_sentence(a_refusal(rule, need=need, have=have))
    violation = violation_sentence(Violation(rule=rule, subject="s", need=need, have=have, detail="why"))
    for sentence in (refusal, violation):
        assert f"[{rule.value}]" in sentence
        assert "{" not in sentence
        assert "None" not in sentence
    assert "gpu-16" in refusal or rule in (Rule.IPS, Rule.MAX_SHARDS, Rule.MAX_COST)
    assert "why" in violation
    assert RULE_NAMES[rule]


def test_refusals_with_one_reason_are_one_group_and_the_largest_comes_first() -> None:
    many = [a_refusal(model=f"m-{k}", rule=Rule.MAX_COUNT, subject="t", need=7, have=6) for k in range(5)]
    groups = refusal_groups([a_refusal(model="big"), *many])
    assert [(group.models[0], group.replicas) for group in groups] == [("m-0", 5), ("big", 1)]
    assert groups[0].names() == "m-0, m-1, m-2 and 2 more"
    assert (
        groups[0].sentence().startswith("m-0, m-1, m-2 and 2 more: 5 replicas refused: t may open 6 shards")
    )
