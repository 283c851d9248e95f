"""Objects to YAML text, always the same for the same objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

# PyYAML's wheels carry libyaml, which is several times faster; an installation without it writes the same.
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]  # which class it is, is known when PyYAML is imported
    """Writes every value where it stands: no anchors, whatever dicts the objects share."""

    def ignore_aliases(self, data: object) -> bool:
        """Return True: nothing is written as an alias."""
        del data
        return True


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
