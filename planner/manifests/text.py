"""Objects to YAML text, always the same for the same objects."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

# PyYAML's wheels carry libyaml, which is several times faster; an installation without it writes the same.
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


# What kubectl's reader takes for a number, a date or a yes and PyYAML writes as it is: a model may be called
# 1e3 or 12e4567, as the beginning of a hash is.
_NOT_TEXT_ELSEWHERE = re.compile(r"[yYnN]|[-+.0-9][-+.:_0-9a-fA-FoOxX]*")


class _Dumper(_Base):  # type: ignore[misc]  # which class it is, is known when PyYAML is imported
    """Writes every value where it stands: no anchors, whatever dicts the objects share."""

    def ignore_aliases(self, data: object) -> bool:
        """Return True: nothing is written as an alias."""
        del data
        return True

    def represent_text(self, text: str) -> yaml.Node:
        """Return text as a scalar, in quotes where a reader of another YAML would not see text."""
        style = "'" if _NOT_TEXT_ELSEWHERE.fullmatch(text) else None
        node: yaml.Node = self.represent_scalar("tag:yaml.org,2002:str", text, style=style)
        return node


_Dumper.add_representer(str, _Dumper.represent_text)


def yaml_text(objects: Iterable[dict[str, Any]]) -> str:
    """Return the YAML documents of objects, keys sorted, one line a scalar."""
    text: str = yaml.dump_all(
        objects,
        Dumper=_Dumper,
        explicit_start=True,
        sort_keys=True,
        default_flow_style=False,
        allow_unicode=True,
        width=2**31 - 1,
    )
    return text
