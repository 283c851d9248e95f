"""Protobuf's text format: what is written is read, and no text ends in anything but a fault."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from planner.scenario.foreign.text_proto import TextProtoError, parse_text_proto

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
WORDS = st.from_regex(r"-?[0-9]{1,6}|[A-Z_]{1,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=12)
LEAVES = st.one_of(WORDS.map(lambda word: ("word", word)), TEXTS.map(lambda text: ("text", text)))


def messages(values: Any) -> Any:
    return st.dictionaries(NAMES, st.lists(values, min_size=1, max_size=3), max_size=4)


VALUES = st.recursive(LEAVES, messages, max_leaves=12)


def written(message: dict[str, Any], *, in_lists: bool) -> str:
    fields = []
    for name, values in message.items():
        texts = [value_text(value, in_lists=in_lists) for value in values]
        fields += [f"{name}: [{', '.join(texts)}]"] if in_lists else [f"{name}: {text}" for text in texts]
    return "\n".join(fields)


def value_text(value: Any, *, in_lists: bool) -> str:
    if isinstance(value, dict):
        return "{ " + written(value, in_lists=in_lists) + " }"
    kind, text = value
    escaped = "".join(f"\\{ord(letter):03o}" if letter in '"\\\n\r' else letter for letter in text)
    return f'"{escaped}"' if kind == "text" else text


def plain(message: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [plain(value) if isinstance(value, dict) else value[1] for value in values]
        for name, values in message.items()
    }


@given(message=messages(VALUES), in_lists=st.booleans())
def test_what_is_written_is_read(message: dict[str, Any], *, in_lists: bool) -> None:
    assert parse_text_proto(written(message, in_lists=in_lists)) == plain(message)


@given(text=st.one_of(st.text(), st.text(alphabet="{}[]<>:,;\"'ab1 \n#\\")))
def test_any_text_is_a_message_or_a_fault(text: str) -> None:
    with contextlib.suppress(TextProtoError):
        assert isinstance(parse_text_proto(text), dict)
