"""What a source offers: a list of objects, each with what tells whether it has changed, and their bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.errors import StorageError
from agent.storage.limits import DEEPEST, Budget

_LONGEST_NAME = 255  # bytes of one path segment on every filesystem of Linux


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object of a source.

    Parameters
    ----------
    path
        Where it lies in the model's folder: relative, checked.
    key
        What the source calls it.
    total_bytes
        Its size; None where the source does not say.
    etag
        Changes when the content does; None where the source has nothing of the kind.
    guard
        Goes into ``If-Match`` so that all ranges are of one content; None where the source cannot be asked.
    ranges
        Whether parts of it can be asked for.
    md5, sha256
        Of its content, lower-case hexadecimal, as far as the source tells.
    md5_is_etag
        The MD5 is an ETag, which is one only where the store does not encrypt with keys of its own.
    """

    path: str
    key: str
    total_bytes: int | None
    etag: str | None = None
    guard: str | None = None
    ranges: bool = True
    md5: str | None = None
    sha256: str | None = None
    md5_is_etag: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a URI names, at one moment.

    Parameters
    ----------
    place
        Identifies the source without secrets: ETags of different places are not compared.
    items
        The objects.
    alone
        The URI names one object, not a folder: an archive is unpacked then.
    """

    place: str
    items: Sequence[Item]
    alone: bool = False

    def files(self, folder: Path) -> Sequence[Path]:
        """Return the files of a folder in which its objects arrive, in their order."""
        return [folder / str(number) for number in range(len(self.items))]

    @property
    def total_bytes(self) -> int:
        """Return the sum of the sizes that are known."""
        return sum(item.total_bytes or 0 for item in self.items)

    @property
    def fingerprint(self) -> str | None:
        """Return a hash that is equal where the content is, or None where the source tells too little."""
        marks = [(item.path, item.total_bytes, item.etag) for item in self.items]
        if any(size is None or etag is None for _, size, etag in marks):
            return None
        return fingerprint(self.place, marks, alone=self.alone)


def fingerprint(place: str, marks: Iterable[tuple[str, int | None, str | None]], *, alone: bool) -> str:
    """Return the hash of a list of (path, size, ETag) at a place."""
    text = json.dumps([1, place, alone, sorted(marks)])  # no path stands twice
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Source(Protocol):
    """Where a model comes from."""

    def listing(self, budget: Budget) -> Listing:
        """Return what is there; each object is counted against the budget."""
        ...

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Yield the bytes of a range, to the end where ``end`` is None; the caller notes what is missing."""
        ...

    def close(self) -> None:
        """Give up what is held open."""
        ...


def checked_path(key: str) -> str:
    """Return a relative path as it may be made below a model's folder.

    Raises
    ------
    StorageError
        It leads outside, or no file can be called that.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in key or "\0" in key:
        raise StorageError("UnsafePath", f"{key[:200]!r} leads outside the model's folder")
    if len(parts) > DEEPEST:
        raise StorageError("UnsafePath", f"folders lie more than {DEEPEST} deep in one another")
    if any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST_NAME for part in parts):
        raise StorageError("UnsafePath", f"{key[:200]!r} is longer than a file's name may be")
    return key
