"""One text for one value: the hash by which a plan names its scenario."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the canonical JSON of a frozen dataclass: sorted keys, no spaces, defaults included."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_fields)


def _fields(value: Any) -> dict[str, Any]:
    """Return a dataclass one level deep: ``dataclasses.asdict`` would copy every leaf of a large fleet."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def sha256_of(value: Any) -> str:
    """Return the hexadecimal SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
