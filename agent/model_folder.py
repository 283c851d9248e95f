"""A model's folder, made what its server needs (`agent.layouts`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from agent.layouts.port import Arrangement
from agent.storage.layout import CONFIG


def is_arranged(folder: Path, wanted: Arrangement) -> bool:
    """Return whether there is nothing to do."""
    if wanted.raised is not None or any((folder / path).exists() for path in wanted.absent):
        return False
    return all(
        (folder / path).is_file() and (folder / path).read_bytes() == content
        for path, content in wanted.files.items()
    )


def arrange(folder: Path, wanted: Arrangement, *, temporary: Callable[[], Path]) -> None:
    """Make a model's folder what it should be; stopped in the middle, it is done again.

    Parameters
    ----------
    folder, wanted
        What is there, and what should be.
    temporary
        Returns a path on the same filesystem that nobody else uses.
    """
    if wanted.raised is not None:
        _raise_entries(folder / wanted.raised)
    for path, content in wanted.files.items():
        new = temporary()
        new.write_bytes(content)
        if path in wanted.programs:
            new.chmod(0o755)
        new.rename(folder / path)
    for path in wanted.absent:
        (folder / path).unlink(missing_ok=True)


def renew(folder: Path) -> None:
    """Make a model's folder newer than every one that its server has loaded.

    Triton does not see that files are others than those that it has loaded, but that they are newer, and
    takes a newer config alone for a change of instances: so the versions' folders are made new as well. Files
    are not: they may be links to what others share.
    """
    for path in (folder, folder / CONFIG, *(entry for entry in folder.iterdir() if entry.is_dir())):
        with contextlib.suppress(FileNotFoundError):  # not every server has a config
            os.utime(path)


def _raise_entries(folder: Path) -> None:
    """Move what is in a folder beside it, and the folder away; what has a name that is taken stays."""
    for entry in list(folder.iterdir()):
        if not (folder.parent / entry.name).exists():
            entry.rename(folder.parent / entry.name)
    if not any(folder.iterdir()):
        folder.rmdir()
