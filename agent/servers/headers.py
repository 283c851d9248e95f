"""Headers that open a server's restricted endpoints: their values are secrets, kept out of command lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SettingsError

# RFC 9110, section 5: a field's name is a token; its value has no control characters.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7e\t]*")


@dataclass(frozen=True, slots=True)
class Headers:
    """Names, and where their values are: files are read at each call, since mounted secrets are renewed.

    Parameters
    ----------
    values
        Those that do not change.
    files
        By name, the file that holds the value.
    """

    values: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, Path], ...] = ()

    def current(self) -> dict[str, str]:
        """Return the headers as they are now; one whose file cannot be read or used is left out."""
        found = dict(self.values)
        for name, path in self.files:
            value = _content(path)
            if value is not None:
                found[name] = value
        return found

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in (*self.values, *self.files))})"


NO_HEADERS = Headers()


def read_headers(given: Iterable[str], environment: Mapping[str, str] = os.environ) -> Headers:
    """Return headers given as ``name=file:PATH`` or ``name=env:VARIABLE``.

    Raises
    ------
    SettingsError
        One is not of this form, or its value is not there or no header value. The message holds no value.
    """
    values: list[tuple[str, str]] = []
    files: list[tuple[str, Path]] = []
    for text in given:
        name, equals, source = text.partition("=")
        kind, _, place = source.partition(":")
        if not _NAME.fullmatch(name) or kind not in ("file", "env") or not place:
            shown = name if equals and _NAME.fullmatch(name) else "a header"
            raise SettingsError(f"--server-header: {shown}: write NAME=file:PATH or NAME=env:VARIABLE")
        value = _content(Path(place)) if kind == "file" else environment.get(place)
        if value is None or not _VALUE.fullmatch(value):
            raise SettingsError(f"--server-header: {name}: {kind}:{place} holds no header value")
        if kind == "file":
            files.append((name, Path(place)))
        else:
            values.append((name, value))
    return Headers(tuple(values), tuple(files))


def _content(path: Path) -> str | None:
    try:
        value = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return None
    return value if _VALUE.fullmatch(value) else None
