"""The folder that a server expects of a model: ``config.pbtxt`` (perhaps) and numbered versions."""

from __future__ import annotations

import os
from pathlib import Path

CONFIG = "config.pbtxt"
FIRST_VERSION = "1"


def arrange(folder: Path) -> Path:
    """Return the folder inside ``folder`` that is the model, made complete.

    An archive often wraps everything in one folder: then that one is the model. Files without a version
    folder and without a config become version 1. A config without a version folder gets an empty one, as
    ensembles need and archives often lose.
    """
    entries = _entries(folder)
    while len(entries) == 1 and entries[0].is_dir() and not _is_version(entries[0]):
        folder = entries[0]
        entries = _entries(folder)
    if any(_is_version(entry) for entry in entries):
        return folder
    version = folder / FIRST_VERSION
    version.mkdir()
    if not any(entry.name == CONFIG for entry in entries):
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


def _is_version(path: Path) -> bool:
    return path.is_dir() and path.name.isdecimal()
