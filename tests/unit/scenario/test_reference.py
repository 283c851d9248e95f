"""The reference page says what the shapes say, and every field says what it is for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from planner.scenario.flat import FLAT_FIELDS
from planner.scenario.load import parse_scenario
from planner.scenario.reference import page
from planner.scenario.schema import schema_texts

PAGE = Path(__file__).parents[3] / "docs" / "scenario.md"


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run: python -m planner.scenario.reference docs/scenario.md"


@pytest.mark.parametrize("name", ["scenario.schema.json", "catalog.schema.json", "plan.schema.json"])
def test_every_field_has_a_description(name: str) -> None:
    schema = json.loads(schema_texts()[name])
    bare = [
        f"{title}.{field}"
        for title, part in [("", schema), *schema["$defs"].items()]
        for field, value in part.get("properties", {}).items()
        if not value.get("description") and field != "use"
    ]
    assert bare == []


def test_every_field_of_every_schema_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    fields = {
        field
        for schema in map(json.loads, schema_texts().values())
        for part in (schema, *schema["$defs"].values())
        for field in part.get("properties", {})
    }
    assert {field for field in fields | FLAT_FIELDS.keys() if f"| `{field}` |" not in text} == set()


def test_the_example_on_the_page_is_a_scenario() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert parse_scenario(example, file="page").models[0].name == "sports-en"
