"""Events and outlines tell of a text what its nodes tell."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from planner.scenario.documents import parse_document, parse_documents
from planner.scenario.yaml_text import Loc, NodeLoader, Outline, line_in, plain_data

_BLOCK = """\
# a comment
apiVersion: shardpack.dev/v1alpha1
metadata: {name: ünï,
           namespace: "ü\\u2028"}
spec:
  policy:
    headroom:
      gpuMemory: 3%
  models:
  - name: a
    labels: {team: 'ä', 1: one}
    footprints:
    - class: nvidia-t4
      gpuMemory:
        steady: 1Gi

    # between
    - {class: cpu,
       cpu: 1}
  -
    name: b
    text: |
      several
      lines
    footprints: []
  empty:
  last: [1, [2,
    3], {x: 4}]
"""
_JSON = """\
{"kind": "Plan",
 "spec": {
  "models": [
   {"name": "a",
    "x": [1,
 2]}, {"name": "b"}
]}}
"""


def _locs(data: Any, loc: Loc = ()) -> list[Loc]:
    """Every place of a document, and one in each that is not there."""
    found = [loc, (*loc, "absent"), (*loc, 99)]
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for part, inner in parts:
        found += _locs(inner, (*loc, part))
    return found


@pytest.mark.parametrize(
    "text",
    [_BLOCK, _JSON, _BLOCK.replace("\n", "\r\n"), "- a\n- b:\n    c: 1\n", "text", "a: 1\na: 2\nb: {a: 3}\n"],
    ids=["block", "json", "crlf", "list", "scalar", "doubled"],
)
def test_an_outline_finds_the_lines_that_nodes_have(text: str) -> None:
    node = yaml.compose(text, Loader=NodeLoader)
    (document,) = parse_documents(text, file="x")
    outline = Outline(text)
    for loc in _locs(document.data):
        line = line_in(node, loc)
        assert outline.line_of(loc) == (node.start_mark.line if line is None else line) + 1, loc


def test_a_text_that_is_no_yaml_has_no_lines() -> None:
    assert Outline("a: [").line_of(("a",)) is None


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_DATA = st.dictionaries(
    st.text(max_size=6),
    st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=12,
    ),
    min_size=1,
    max_size=4,
)


@given(data=_DATA, flow=st.sampled_from([None, False, True]))
def test_events_give_the_data_that_nodes_give(data: Any, flow: bool | None) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=True)
    (document,) = parse_documents(text, file="x")
    if not document.faults and "&" not in text:
        assert plain_data(text) in (document.data, None)
    assert parse_document(text, file="x").data == document.data


@pytest.mark.parametrize(
    "text", ["a: 1\nb: [x, {c: no, d: 010, e: 1.5, f: ~, g: 'null'}]\n", "--- \na: true\n...\n", _BLOCK]
)
def test_a_plain_document_is_read_from_its_events(text: str) -> None:
    (document,) = parse_documents(text, file="x")
    assert plain_data(text) == document.data


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2",
        "a: !!str 1",
        "<<: {a: 1}",
        "a: 1\n---\nb: 2",
        "",
        "a: [",
        "? [a]\n: 1",
        "a: *b",
        "[" * 300,
    ],
)
def test_what_is_not_plain_is_left_to_the_nodes(text: str) -> None:
    assert plain_data(text) is None
