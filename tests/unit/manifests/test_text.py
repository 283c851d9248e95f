"""Objects as YAML text: stable, and without surprises for whoever reads it back."""

from __future__ import annotations

import pytest
import yaml

from planner.manifests.text import yaml_text


def test_keys_are_sorted_and_order_of_lists_is_kept():
    assert yaml_text([{"b": [2, 1], "a": {}}]) == "---\na: {}\nb:\n- 2\n- 1\n"


def test_shared_values_are_written_out():
    shared = {"x": "1"}
    assert yaml_text([{"a": shared, "b": shared}]) == "---\na:\n  x: '1'\nb:\n  x: '1'\n"


def test_long_text_stays_on_one_line():
    text = "word " * 200 + "end"
    assert yaml_text([{"a": text}]) == f"---\na: {text}\n"


@pytest.mark.parametrize(
    "text", ["1e3", "12e4567", "1.e3", ".5e1", "0o17", "08", "1_0.5e3", "2001-1-1", "y", "N"]
)
def test_text_that_kubectls_yaml_would_not_take_for_text_is_quoted(text):
    assert yaml_text([{text: text}]) == f"---\n'{text}': '{text}'\n"


@pytest.mark.parametrize("text", ["500m", "1.5Gi", "3g.20gb", "news-1", "yes-1", "/mnt/models"])
def test_text_that_is_text_everywhere_stays_plain(text):
    assert yaml_text([{"a": text}]) == f"---\na: {text}\n"


@pytest.mark.parametrize("text", ["true", "1", "1e3", "null", "", "0x1", "a: b", "- a", "ü", "1.5Gi", "~"])
def test_text_stays_text(text):
    assert list(yaml.safe_load_all(yaml_text([{"a": text}, {"b": text}]))) == [{"a": text}, {"b": text}]
