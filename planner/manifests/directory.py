"""Rendered files to a folder, all of them or none."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import yaml

from planner.errors import Fault, InputError
from planner.manifests.render import HEADER, KUSTOMIZATION, ManifestFile


def write_manifests(files: Iterable[ManifestFile], directory: Path) -> None:
    """Write files into a folder that then holds exactly them.

    They are written into a new folder beside it, which then takes its place by a rename. Only a folder that
    is empty, or that was written by this function and has nothing else in it, is replaced.

    Parameters
    ----------
    files
        What ``render_plan`` returned.
    directory
        The folder; it and its parents may be missing.

    Raises
    ------
    InputError
        The folder holds something that would be lost, or it cannot be written; it is then as it was.
    """
    target = directory.resolve()
    try:
        _refuse_to_lose(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as work:
            fresh = Path(work) / "new"
            _write_all(files, fresh)
            _swap(fresh, target, aside=Path(work) / "old")
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}"
        raise InputError([Fault(path="", file=str(directory), message=reason)]) from error


def _write_all(files: Iterable[ManifestFile], folder: Path) -> None:
    folder.mkdir()
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8", newline="\n")


def _swap(fresh: Path, target: Path, *, aside: Path) -> None:
    """Put a folder in the place of another; what was there is back if that fails."""
    if not target.exists():
        fresh.rename(target)
        return
    target.rename(aside)
    try:
        fresh.rename(target)
    except OSError:
        aside.rename(target)
        raise


def _refuse_to_lose(target: Path) -> None:
    """Raise unless a folder is missing, empty, or holds only what was written here before."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError([Fault(path="", file=str(target), message="is not a folder")])
    here = {
        path.relative_to(target).as_posix()
        for path in target.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    ours = _written_before(target)
    foreign = sorted(here - ours)
    if foreign:
        why = "was not written by shardpack" if not ours else "holds files that shardpack did not write"
        message = f"{why} ({', '.join(foreign[:3])}): choose another folder, or empty it"
        raise InputError([Fault(path="", file=str(target), message=message)])


def _written_before(target: Path) -> set[str]:
    """Return the files that an earlier run wrote here, as its kustomization lists them."""
    path = target / KUSTOMIZATION
    if path.is_symlink() or not path.is_file():
        return set()
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith(f"{HEADER}\n"):
        return set()
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return set()
    resources = content.get("resources") if isinstance(content, dict) else None
    return {KUSTOMIZATION, *(item for item in resources or () if isinstance(item, str))}
