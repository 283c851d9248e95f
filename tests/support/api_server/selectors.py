"""Label and field selectors of lists and watches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.support.api_server.refusals import Object, bad_request

Selector = Callable[[Object], bool]

_SET = re.compile(r"(?P<key>[^\s!=,()]+)\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(r"(?P<key>[^\s!=,()]+)\s*(?P<word>==|=|!=)\s*(?P<value>[^\s,()]*)")
_EXISTS = re.compile(r"(?P<not>!?)\s*(?P<key>[^\s!=,()]+)")


def label_selector(text: str) -> Selector:
    """A selector by labels, as ``app=x,tier in (a,b),!old``."""
    conditions = [_label_condition(part.strip()) for part in re.split(r",(?![^(]*\))", text) if part.strip()]

    def select(item: Object) -> bool:
        labels = item["metadata"].get("labels") or {}
        return all(condition(labels) for condition in conditions)

    return select


def _label_condition(part: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.fullmatch(part):
        values, key = {value.strip() for value in found["values"].split(",")}, found["key"]
        if found["word"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.fullmatch(part):
        key, value = found["key"], found["value"]
        if found["word"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.fullmatch(part):
        key, wanted = found["key"], not found["not"]
        return lambda labels: (key in labels) == wanted
    raise bad_request(f"unable to parse requirement: found '{part}'")


_OF_ALL = ("metadata.name", "metadata.namespace")
_OF_PODS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
)


def field_selector(text: str, *, plural: str) -> Selector:
    """A selector by fields, as ``metadata.name=x,spec.nodeName!=``."""
    known = (*_OF_ALL, *(_OF_PODS if plural == "pods" else ()))
    conditions: list[tuple[list[str], str, bool]] = []
    for part in filter(None, text.split(",")):
        found = _EQUAL.fullmatch(part.strip())
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        if found["key"] not in known:
            raise bad_request(_no_field(found["key"], plural))
        conditions.append((found["key"].split("."), found["value"], found["word"] != "!="))

    def select(item: Object) -> bool:
        return all((_value(item, path) == value) == wanted for path, value, wanted in conditions)

    return select


def _no_field(key: str, plural: str) -> str:
    if plural == "pods":
        return f"field label not supported: {key}"
    return f'"{key}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _value(item: Object, path: list[str]) -> str:
    for key in path:
        item = item.get(key) or {}
    return item if isinstance(item, str) else ""


def matches_selector(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether labels match a selector that stands in an object; an empty one takes all."""
    pairs = (selector.get("matchLabels") or {}).items()
    if any(labels.get(key) != value for key, value in pairs):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or ())


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
