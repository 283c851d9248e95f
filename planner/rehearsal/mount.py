"""ConfigMaps as files, swapped as a kubelet swaps them.

A kubelet writes the new content into a fresh directory ``..<time>``, points the link ``..data`` at it by an
atomic rename, and only then removes the old directory; the files that a container sees are links through
``..data``. A reader therefore sees one whole version or the other.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

_DATA = "..data"


def mount_files(directory: Path, files: Mapping[str, str]) -> None:
    """Make ``directory`` show exactly these files (by name, no folders), in one atomic step."""
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / _DATA
    old = data.resolve() if data.is_symlink() else None
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    fresh.chmod(0o755)
    for name, text in files.items():
        (fresh / name).write_text(text)
    link = directory / "..data_tmp"
    link.symlink_to(fresh.name)
    link.rename(data)
    _show(directory, set(files))
    if old is not None:
        shutil.rmtree(old)


def _show(directory: Path, names: set[str]) -> None:
    """Link every name through ``..data`` and drop the links of names that are gone."""
    for path in directory.iterdir():
        if not path.name.startswith("..") and path.name not in names:
            path.unlink()
    for name in names:
        path = directory / name
        if not path.is_symlink():
            path.symlink_to(Path(_DATA) / name)
