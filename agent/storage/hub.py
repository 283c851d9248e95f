"""``hf://<owner>/<repository>[:<revision>]``: the files of one commit on the Hugging Face hub.

The hub's own library keeps a cache of its own, of links into it, without the bounds that hold here, and
brings a dozen packages. So the two addresses that it calls itself are called here: one lists a revision's
files with their hashes, the other gives a file of a commit, in ranges.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from agent.errors import StorageError
from agent.storage.http import ask, flow, read_range
from agent.storage.limits import Budget
from agent.storage.source import Item, Listing, checked_path

_HUB = "https://huggingface.co"
_URI = re.compile(r"hf://([\w.-]{1,96})/([\w.-]{1,96})(?::([\w./-]{1,255}))?/?")
_LARGEST_LIST_BYTES = 64 << 20


@dataclass(slots=True)
class Hub:
    """A repository at a revision.

    Parameters
    ----------
    uri
        What names it.
    environment
        ``HF_TOKEN`` for what is not public, ``HF_ENDPOINT`` for another hub.
    """

    uri: str
    environment: Mapping[str, str] = field(repr=False)

    def listing(self, budget: Budget) -> Listing:
        """Return the files of the revision's commit; those of git itself are left out."""
        match = _URI.fullmatch(self.uri)
        if match is None:
            raise StorageError("BadUri", "write hf://owner/repository, or hf://owner/repository:revision")
        owner, repository, revision = match.groups()
        name = f"{owner}/{repository}"
        answer = self._list(f"{self._base}/api/models/{name}/revision/{quote(revision or 'main', safe='')}")
        try:
            commit = str(answer["sha"])
            files = [
                _item(f"{self._base}/{name}/resolve/{quote(commit, safe='')}", one)
                for one in answer["siblings"]
            ]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise StorageError("HttpError", f"hf://{name}: not the answer of a hub", retry="soon") from error
        items = [file for file in files if not file.path.startswith(".git")]
        for item in items:
            budget.enter(item.path)
        budget.announce(sum(item.total_bytes or 0 for item in items))
        return Listing(place=f"{self._base}/{name}", items=items)

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Yield a range of a file; the commit is in its address, so it cannot change."""
        if end is None or (start, end) == (0, item.total_bytes):
            yield from flow(ask(item.key, self._headers), item.key, None)
        else:
            yield from read_range(item.key, start, end, guard=None, more=self._headers)

    def close(self) -> None:
        """Do nothing: connections are kept for the next model."""

    @property
    def _base(self) -> str:
        return (self.environment.get("HF_ENDPOINT") or _HUB).rstrip("/")

    @property
    def _headers(self) -> dict[str, str]:
        token = self.environment.get("HF_TOKEN")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _list(self, url: str) -> Any:
        text = b""
        for chunk in flow(ask(f"{url}?blobs=true", self._headers), url, None):
            text += chunk
            if len(text) > _LARGEST_LIST_BYTES:
                raise StorageError("TooLarge", f"{self.uri}: a list of more than {_LARGEST_LIST_BYTES} bytes")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StorageError("HttpError", f"{self.uri}: not the answer of a hub", retry="soon") from error


def _item(base: str, file: Mapping[str, Any]) -> Item:
    path = checked_path(str(file["rfilename"]))
    lfs = file.get("lfs")
    sha256 = str(lfs["sha256"]) if lfs else None
    return Item(
        path=path,
        key=f"{base}/{quote(path)}",
        total_bytes=int(file["size"]),
        etag=sha256 or str(file["blobId"]),
        sha256=sha256,
    )
