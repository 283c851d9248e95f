"""Unpack archives that somebody else made: nothing lands outside the folder, nothing grows without bound."""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from agent.errors import StorageError
from agent.storage.limits import DEEPEST, Budget, Readable
from agent.storage.tape import Tape

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SUFFIXES = (*TAR_SUFFIXES, ".zip")

_LARGEST_DIRECTORY_BYTES = 32 << 20
_ENTRY = b"PK\1\2"
# Those whose decompressor needs no more memory than a few MiB, whatever the archive says.
_KINDS = frozenset((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))


def is_archive(name: str) -> bool:
    """Return whether a file of this name is unpacked."""
    return name.lower().endswith(SUFFIXES)


def unpack(archive: Path, into: Path, *, name: str, budget: Budget) -> None:
    """Unpack an archive into an existing, empty folder.

    Only plain files and folders are taken: links, devices and names that lead outside are refused, not
    skipped, because a model that lacks a file fails in stranger ways.

    Parameters
    ----------
    archive
        The file to read.
    into
        The folder to fill.
    name
        The archive's name: its ending tells the kind, whatever it is called on disk.
    budget
        Counts what is written.

    Raises
    ------
    StorageError
        Not such an archive, damaged, too large, or with an entry that must not be unpacked.
    """
    opened = _unpack_tar if name.lower().endswith(TAR_SUFFIXES) else _unpack_zip
    try:
        opened(archive, into, budget)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        RuntimeError,
        NotImplementedError,
        ValueError,
        OverflowError,
    ) as error:
        raise StorageError("BadArchive", f"{name}: {error}") from error
    except OSError as error:
        # bz2 and gzip report damage as a bare OSError; those of the file system have a number.
        if error.errno is None:
            raise StorageError("BadArchive", f"{name}: {error}") from error
        raise


def _unpack_tar(archive: Path, into: Path, budget: Budget) -> None:
    with archive.open("rb") as file:
        tape = Tape(file)
        while (member := tape.next()) is not None:
            budget.enter(member.name)
            target = _inside(into, member.name)
            if member.isdir():
                _make_folder(target)
            elif member.isreg():
                _make_file(target, tape.content(member), budget, mode=member.mode)
            else:
                raise StorageError(
                    "UnsafeArchive",
                    f"{member.name!r} is a link or a special file; only files and folders are unpacked",
                )


class _ZipFile(io.BufferedReader):
    """A zip, whose directory the library would read whole and turn into an object an entry."""

    def __init__(self, archive: Path, budget: Budget) -> None:
        super().__init__(io.FileIO(archive))
        self._budget = budget
        self.in_directory = True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.in_directory and size is not None and size > _LARGEST_DIRECTORY_BYTES:
            raise StorageError("BadArchive", f"it holds a directory of {size} bytes")
        data = super().read(size)
        if self.in_directory:
            self._budget.foresee(data.count(_ENTRY))
        return data


def _unpack_zip(archive: Path, into: Path, budget: Budget) -> None:
    with _ZipFile(archive, budget) as file, zipfile.ZipFile(file) as packed:
        file.in_directory = False
        for member in packed.infolist():
            budget.enter(member.filename)
            target = _inside(into, member.filename)
            # The upper half holds the Unix mode where the archive was made on such a system.
            mode = member.external_attr >> 16
            kind = stat.S_IFMT(mode)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise StorageError(
                    "UnsafeArchive",
                    f"{member.filename!r} is a link or a special file; only files and folders are unpacked",
                )
            if member.is_dir():
                _make_folder(target)
            elif member.compress_type not in _KINDS:
                raise StorageError(
                    "BadArchive", f"{member.filename!r} is packed in a way that is not unpacked"
                )
            else:
                with packed.open(member) as source:
                    _make_file(target, source, budget, mode=mode)


def _inside(into: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise StorageError("UnsafeArchive", f"{name!r} leads outside the model's folder")
    if len(path.parts) > DEEPEST:
        raise StorageError("UnsafeArchive", f"folders lie more than {DEEPEST} deep in one another")
    return into.joinpath(*path.parts)


def _make_folder(target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise StorageError("BadArchive", f"{target.name!r} is a file and a folder") from error


def _make_file(target: Path, source: Readable, budget: Budget, *, mode: int) -> None:
    _make_folder(target.parent)
    if target.exists():
        raise StorageError("BadArchive", f"{target.name!r} stands twice")
    budget.write(source, target, executable=bool(mode & stat.S_IXUSR))
