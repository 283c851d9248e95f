"""A tar, read once and forward, through a decompressor and past headers that cannot fill the memory.

The library reads what it takes for headers whole, however many there are and however they are nested, and
parses some of them in quadratic time: https://github.com/python/cpython/issues/121285. All of it comes
through here, so it is bounded here.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import tarfile
from typing import BinaryIO, Self

from agent.errors import StorageError
from agent.storage.limits import CHUNK_BYTES, Readable

_BLOCK_BYTES = 512
_LARGEST_HEADER_BYTES = 1 << 20
_LARGEST_HEADERS_BYTES = 4 << 20
"""Of one member: its own, longer names and attributes before it."""
_MOST_ATTRIBUTES = 16
"""Of a whole tar; git writes one."""
_LARGEST_PADDING_BYTES = 64 << 20
_LARGEST_DICTIONARY_BYTES = 128 << 20
"""Twice what `xz -9` needs to unpack; a header of some bytes can ask for 4 GiB."""

_ATTRIBUTES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_READ_WHOLE = frozenset((tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, *_ATTRIBUTES))
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]{1,256})=")
_LONG_NUMBER = re.compile(rb"[0-9]{256}")


class Tape:
    """The members of a tar, one after the other.

    Parameters
    ----------
    file
        The archive, compressed or not; whoever opened it closes it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._stream = _Stream(_unpacked(file))
        self._tar = tarfile.TarFile(fileobj=self._stream, tarinfo=_Member)  # type: ignore[arg-type]  # it reads

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member; None at the end, of which the decompressor then has compared its checksum.

        Raises
        ------
        StorageError
            Its headers are more than a model's can be.
        """
        self._stream.expect_headers()
        member = self._tar.next()
        # The library would keep each with all its attributes.
        self._tar.members = []  # type: ignore[attr-defined]  # undocumented, and there since ever
        if len(self._tar.pax_headers) > _MOST_ATTRIBUTES:
            raise StorageError("BadArchive", f"it holds more than {_MOST_ATTRIBUTES} attributes of its own")
        self._stream.expect_content()
        if member is None:
            self._read_to_the_end()
        return member

    def content(self, member: tarfile.TarInfo) -> Readable:
        """Return the content of the member that was returned last."""
        source = self._tar.extractfile(member)
        if source is None:  # a regular member always has content
            raise StorageError("BadArchive", f"{member.name!r} has no content")
        return source

    def _read_to_the_end(self) -> None:
        padding_bytes = 0
        while chunk := self._stream.read(CHUNK_BYTES):
            padding_bytes += len(chunk)
            if padding_bytes > _LARGEST_PADDING_BYTES:
                raise StorageError("BadArchive", "it goes on behind its end")


class _Member(tarfile.TarInfo):
    """Refuses headers that tarfile would read into memory, however large they say they are."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or (member.type in _READ_WHOLE and member.size > _LARGEST_HEADER_BYTES):
            raise StorageError("BadArchive", f"it holds a header of {member.size} bytes")
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse()
        return member


class _Stream:
    """What tarfile reads from: forward only, and judged as long as it reads headers."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._at = 0
        self._allowed: int | None = _LARGEST_HEADERS_BYTES
        self._follows = b""

    def expect_headers(self) -> None:
        """Judge what is read from now on."""
        self._allowed = _LARGEST_HEADERS_BYTES

    def expect_content(self) -> None:
        """Let pass what is read from now on."""
        self._allowed = None

    def read(self, amount: int) -> bytes:
        """Return so many bytes, fewer only at the end."""
        if self._allowed is not None:
            self._allowed -= amount
            if self._allowed < 0:
                raise StorageError("BadArchive", f"one member has {_LARGEST_HEADERS_BYTES} bytes of headers")
        chunks = []
        while amount > 0 and (chunk := self._source.read(amount)):
            chunks.append(chunk)
            amount -= len(chunk)
        data = b"".join(chunks)
        self._at += len(data)
        if self._allowed is not None:
            self._judge(data)
        return data

    def _judge(self, data: bytes) -> None:
        """Judge a block, which says of what kind it is, or what follows a block that is read whole."""
        follows, self._follows = self._follows, b""
        if follows in _ATTRIBUTES:
            _check_attributes(data)
        elif not follows and len(data) == _BLOCK_BYTES and data[156:157] in _READ_WHOLE:
            self._follows = data[156:157]

    def tell(self) -> int:
        """Return how much was read."""
        return self._at

    def seek(self, offset: int) -> int:
        """Read up to an offset.

        Raises
        ------
        StorageError
            It was passed.
        """
        if offset < self._at:
            raise StorageError("BadArchive", "its members lie in one another")
        while self._at < offset and self.read(min(CHUNK_BYTES, offset - self._at)):
            pass
        return self._at


def _check_attributes(data: bytes) -> None:
    """Refuse what tarfile is slow to parse: records that overlap, numbers without end, and maps of holes."""
    if _LONG_NUMBER.search(data):
        raise StorageError("BadArchive", "an attribute holds a number without end")
    at = 0
    while at < len(data) and data[at]:
        record = _RECORD.match(data, at)
        end = at + int(record[1]) if record else 0
        if record is None or end <= record.end() or data[end - 1 : end] != b"\n":
            raise StorageError("BadArchive", "it holds attributes that cannot be read")
        if record[2].startswith(b"GNU.sparse."):
            raise _sparse()
        at = end


def _sparse() -> StorageError:
    return StorageError("UnsafeArchive", "it holds a file with holes; pack it without --sparse")


def _unpacked(file: BinaryIO) -> Readable:
    """Return a tar's bytes, by what the file begins with and not by its name."""
    begin = file.read(6)
    file.seek(0)
    if begin.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if begin.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if begin.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return _Xz(file)
    return file


class _Xz:
    """What is in an xz file: as `lzma.LZMAFile`, with a bound on the memory that it may ask for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = _xz_stream()

    def read(self, amount: int, /) -> bytes:
        """Return up to so many bytes, none at the end."""
        while True:
            packed = b""
            if self._stream.eof:
                packed = self._after_stream()
                if not packed:
                    return b""
                self._stream = _xz_stream()
            elif self._stream.needs_input:
                packed = self._file.read(CHUNK_BYTES)
                if not packed:
                    raise EOFError("it ends in the middle")
            if data := self._stream.decompress(packed, amount):
                return data

    def _after_stream(self) -> bytes:
        """Return the beginning of the next stream, behind padding; nothing at the end."""
        packed = self._stream.unused_data.lstrip(b"\0")
        while not packed:
            more = self._file.read(CHUNK_BYTES)
            if not more:
                return b""
            packed = more.lstrip(b"\0")
        return packed


def _xz_stream() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_LARGEST_DICTIONARY_BYTES)
