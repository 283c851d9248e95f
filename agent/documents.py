"""The mounted documents: read, judged whole, and the last complete set kept.

The directory is laid out as a kubelet mounts ConfigMaps: every ``*.json`` but ``models.json`` is a placement
document, and when there is one they are obeyed and ``models.json`` is not. A kubelet writes a new set into a
new folder and renames the link ``..data`` to it, so the link is followed once and the set is read behind it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.desired import MODELS_JSON, Desired, DocumentError, read_models_json, read_placement

log = logging.getLogger(__name__)

_DATA_LINK = "..data"
_LAST = "documents.json"


def read_texts(directory: Path) -> dict[str, str]:
    """Return the documents' texts by file name.

    Raises
    ------
    DocumentError
        The directory or a file cannot be read, or is no text.
    """
    try:
        link = directory / _DATA_LINK
        folder = link.resolve(strict=True) if link.is_symlink() else directory
        if not folder.is_dir():
            raise DocumentError(f"{directory}: there is no such folder")
        paths = [path for path in sorted(folder.glob("*.json")) if not path.name.startswith(".")]
        for path in paths:
            path.name.encode()  # a file's name need not be text
        return {path.name: path.read_text(encoding="utf-8") for path in paths}
    except (OSError, UnicodeError) as error:
        raise DocumentError(f"{directory}: {error}") from error


def read_desired(texts: Mapping[str, str], before: Desired | None = None) -> Desired:
    """Return what a set of documents asks for; ``before`` is an earlier set, from which much may have stayed.

    Raises
    ------
    DocumentError
        There is none, or they cannot be obeyed.
    """
    placement = {name: text for name, text in texts.items() if name != MODELS_JSON}
    if placement:
        return read_placement(placement, () if before is None else before.models)
    if MODELS_JSON in texts:
        return read_models_json(texts[MODELS_JSON])
    raise DocumentError("neither a placement document nor models.json is there")


def _digest(texts: Mapping[str, str]) -> bytes:
    """Return a hash of documents: they are read every few seconds and too large to be kept for that."""
    whole = hashlib.blake2b()
    for name, text in sorted(texts.items()):
        for part in (name.encode(), text.encode()):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.digest()


@dataclass(slots=True)
class Documents:
    """Reads a directory again and again and keeps the last complete set, also over a restart.

    Parameters
    ----------
    directory
        Where the documents are mounted.
    state_dir
        Where the last complete set is kept, so that a restart beside a broken set forgets nothing.
    desired
        The last complete set; None before the first.
    fault
        Why what is there now cannot be obeyed; None when it is obeyed.
    """

    directory: Path
    state_dir: Path
    desired: Desired | None = None
    fault: str | None = None
    _read: bytes | None = None
    _refused: bytes | None = None

    def recall(self) -> None:
        """Take up the last complete set of an earlier run."""
        try:
            texts = json.loads((self.state_dir / _LAST).read_text(encoding="utf-8"))
            self.desired, self._read = read_desired(texts), _digest(texts)
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError) as error:
            log.warning("the documents kept from an earlier run cannot be read", extra={"error": str(error)})

    def refresh(self) -> bool:
        """Read the directory; return whether what is desired has changed."""
        read = None
        try:
            texts = read_texts(self.directory)
            read = _digest(texts)
            if self.fault is not None and read == self._refused:
                return False  # what is broken stays so, and would be gone through at every look
            if self.fault is None and read == self._read:
                return False
            desired = read_desired(texts, self.desired)
            self._check_kind(desired)
        except DocumentError as error:
            self._refused = read
            self._refuse(str(error))
            return False
        self.fault = self._refused = None
        self._read = read
        changed = self.desired is None or self.desired != desired
        self.desired = desired
        if changed:
            self._keep(texts)
        return changed

    def _check_kind(self, desired: Desired) -> None:
        """Refuse a ``models.json`` where placement documents were: without their pins every model moves.

        ConfigMaps that are replaced are gone for a moment, and a mounted volume shows it.
        """
        if self.desired is not None and self.desired.shard is not None and desired.shard is None:
            raise DocumentError(
                f"the placement documents of {self.desired.shard} are gone and {MODELS_JSON} has no pins"
                " (to obey it, start with an empty state directory)"
            )

    def _refuse(self, fault: str) -> None:
        if fault != self.fault:
            log.warning(
                "the documents cannot be obeyed; the last complete ones stand", extra={"error": fault}
            )
        self.fault = fault

    def _keep(self, texts: Mapping[str, str]) -> None:
        temporary = self.state_dir / f".{_LAST}"
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(texts, file)
            temporary.rename(self.state_dir / _LAST)
        except OSError as error:
            log.warning("the documents cannot be kept for a restart", extra={"error": str(error)})
