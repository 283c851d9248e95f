"""Models' names as keys of nginx's ``map``. PURE.

https://nginx.org/en/docs/http/ngx_http_map_module.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

_WORDS = frozenset({"default", "hostnames", "include", "volatile"})
"""What means something else to it, in quotes too; a backslash before makes it a name."""


def map_lines(values: Mapping[str, str], known: Iterable[str]) -> str:
    """Return the lines of a ``map`` from names to values.

    It compares text without regard to case: of all names that are known, those that differ by nothing else
    become patterns, which it compares exactly.

    Parameters
    ----------
    values
        What each name stands for.
    known
        All names, those that stand for nothing here included.
    """
    alike = Counter(name.lower() for name in known)
    keys = ((_key(name, alone=alike[name.lower()] == 1), values[name]) for name in sorted(values))
    return "".join(f"{key} {value};\n" for key, value in keys)


def _key(name: str, *, alone: bool) -> str:
    if not alone:
        return f'"~^{name.replace(".", "[.]")}$"'
    return f'"\\{name}"' if name in _WORDS else f'"{name}"'
