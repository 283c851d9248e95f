"""Any config that can be written is scanned rightly, and keeps everything that is not replaced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.pbtxt import read_config, top_level_fields

GROUP = "instance_group [ { kind: KIND_CPU count: 1 } ]"

words = st.sampled_from(["name", "instance_group", "input", "parameters", "max_batch_size", "x", "gpus"])
gaps = st.sampled_from([" ", "\n", "\t", " # a comment: } ] \" '\n", "\n\n"])
strings = st.text(st.characters(codec="utf-8", exclude_characters="\n\r")).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)).map(str)
scalars = st.one_of(numbers, words, strings)
ends = st.sampled_from(["", ", ", ";"])


@st.composite
def pairs(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    return f"{draw(words)}{draw(gaps)}:{draw(gaps)}{draw(values)}{draw(gaps)}{draw(ends)}"


@st.composite
def brackets(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    if draw(st.booleans()):
        return "[" + draw(gaps) + f"{draw(gaps)},".join(draw(st.lists(values, max_size=3))) + draw(gaps) + "]"
    first, last = draw(st.sampled_from([("{", "}"), ("<", ">")]))
    return first + draw(gaps) + "".join(draw(st.lists(pairs(values), max_size=3))) + last


values = st.recursive(scalars, brackets, max_leaves=8)
fields = st.tuples(words, gaps, values, gaps)


@given(st.lists(fields, max_size=6))
def test_fields_are_found_where_they_are(written: list[tuple[str, str, str, str]]) -> None:
    text = "".join(f"{name}:{before}{value}{after}" for name, before, value, after in written)
    found = top_level_fields(text)
    assert [field.name for field in found] == [name for name, *_ in written]
    assert [text[f.start : f.end] for f in found] == [
        f"{name}:{before}{value}" for name, before, value, _ in written
    ]


@given(st.lists(fields, max_size=6))
def test_only_name_and_group_are_replaced(written: list[tuple[str, str, str, str]]) -> None:
    text = "".join(f"{name}:{before}{value}{after}" for name, before, value, after in written)
    placed = read_config(text).with_placement(name="m", instance_group=GROUP)
    kept = [text[f.start : f.end] for f in top_level_fields(text) if f.name not in ("name", "instance_group")]
    expected = ['name: "m"', GROUP, *kept]
    assert [placed[f.start : f.end] for f in top_level_fields(placed)] == expected
    assert read_config(placed).with_placement(name="m", instance_group=GROUP) == placed
