"""The folder that a server expects of a model: ``config.pbtxt`` (perhaps) and numbered versions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from agent.errors import StorageError

CONFIG = "config.pbtxt"
FIRST_VERSION = "1"


def tidy(folder: Path) -> None:
    """Delete what macOS writes into archives and folders: it is of no model."""
    for path, folders, names in os.walk(folder):
        if "__MACOSX" in folders:
            folders.remove("__MACOSX")
            shutil.rmtree(Path(path) / "__MACOSX")
        for name in names:
            if name == ".DS_Store" or name.startswith("._"):
                (Path(path) / name).unlink()


def arrange(folder: Path) -> Path:
    """Return the folder inside ``folder`` that is the model, made complete.

    An archive often wraps everything in one folder: then that one is the model. Files without a version
    folder and without a config become version 1. A config without a version folder gets an empty one, as
    ensembles need and archives often lose.

    Raises
    ------
    StorageError
        The config lies in one of several folders, or in one beside files: which is the model is not clear.
    """
    entries = _entries(folder)
    while len(entries) == 1 and entries[0].is_dir() and not _is_version(entries[0]):
        folder = entries[0]
        entries = _entries(folder)
    if any(_is_version(entry) for entry in entries):
        return folder
    has_config = any(entry.name == CONFIG for entry in entries)
    if not has_config:
        _check_no_config_below(folder)
    version = folder / FIRST_VERSION
    version.mkdir()
    if not has_config:
        for entry in entries:
            entry.rename(version / entry.name)
    return folder


def sync_folders(folder: Path) -> None:
    """Make the names of everything below a folder survive a crash of the machine."""
    for path, _, _ in os.walk(folder):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _check_no_config_below(folder: Path) -> None:
    for path, folders, names in os.walk(folder):
        folders.sort()
        if CONFIG in names:
            inside = Path(path).relative_to(folder)
            raise StorageError(
                "BadConfig", f"{CONFIG} lies in {str(inside)!r}, and beside that are other files or folders"
            )


def _is_version(path: Path) -> bool:
    """Return whether a folder is a version: its name is a number, and it is no model with versions itself."""
    if not (path.is_dir() and path.name.isascii() and path.name.isdecimal()):
        return False
    return not ((path / CONFIG).is_file() and any(map(_is_version, path.iterdir())))
