"""Fetching from files: layouts, limits, and what must not be unpacked."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import shutil
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from agent.desired import URI_SCHEMES
from agent.errors import StorageError, SupersededError
from agent.storage import Limits, Reach, fetch
from agent.storage.http import Steady, object_name
from agent.storage.limits import Budget
from tests.support.agent_models import model_folder


def wanted() -> bool:
    return False


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path.as_uri()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_a_folder_is_copied(tmp_path: Path, into: Path) -> None:
    uri = model_folder(tmp_path / "m")
    fetched = fetch(uri, into=into, limits=Limits(), unwanted=wanted)
    assert content(fetched.folder) == content(tmp_path / "m")
    assert fetched.total_bytes == sum(len(text) for text in content(tmp_path / "m").values())


def test_a_single_file_becomes_version_1(tmp_path: Path, into: Path) -> None:
    (tmp_path / "model.onnx").write_text("x")
    fetched = fetch((tmp_path / "model.onnx").as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert content(fetched.folder) == {"1/model.onnx": "x"}


def test_plain_files_become_version_1_and_a_config_gets_an_empty_one(tmp_path: Path, into: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "model.bst").write_text("x")
    (tmp_path / "ensemble").mkdir()
    (tmp_path / "ensemble" / "config.pbtxt").write_text("y")
    (into / "a").mkdir()
    (into / "b").mkdir()
    plain = fetch((tmp_path / "plain").as_uri(), into=into / "a", limits=Limits(), unwanted=wanted)
    ensemble = fetch((tmp_path / "ensemble").as_uri(), into=into / "b", limits=Limits(), unwanted=wanted)
    assert content(plain.folder) == {"1/model.bst": "x"}
    assert (ensemble.folder / "1").is_dir()
    assert content(ensemble.folder) == {"config.pbtxt": "y"}


def test_an_archive_s_wrapping_folder_is_taken_off(tmp_path: Path, into: Path) -> None:
    uri = tar(tmp_path / "m.tgz", (member("model/1/w"), b"w"), (member("model/config.pbtxt"), b"c"))
    fetched = fetch(uri, into=into, limits=Limits(), unwanted=wanted)
    assert content(fetched.folder) == {"1/w": "w", "config.pbtxt": "c"}


def test_what_macos_adds_is_no_part_of_a_model(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as packed:
        packed.writestr("mymodel/config.pbtxt", "config")
        packed.writestr("mymodel/1/weights", "weights")
        for name in ("__MACOSX/mymodel/._config.pbtxt", "mymodel/.DS_Store", "mymodel/1/._weights"):
            packed.writestr(name, "macOS")
    fetched = fetch((tmp_path / "m.zip").as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert content(fetched.folder) == {"config.pbtxt": "config", "1/weights": "weights"}


def test_nothing_but_what_macos_adds_is_no_model(tmp_path: Path, into: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / ".DS_Store").write_text("macOS")
    with pytest.raises(StorageError) as caught:
        fetch((tmp_path / "m").as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert caught.value.reason == "Empty"


def test_a_wrapping_folder_may_be_called_like_a_version(tmp_path: Path, into: Path) -> None:
    for name in ("2024/config.pbtxt", "2024/1/weights"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_text("x")
    fetched = fetch((tmp_path / "m").as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert content(fetched.folder) == {"config.pbtxt": "x", "1/weights": "x"}


def test_a_config_in_one_of_several_folders_is_refused(tmp_path: Path, into: Path) -> None:
    for name in ("README.md", "mymodel/config.pbtxt", "mymodel/1/weights"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_text("x")
    with pytest.raises(StorageError, match=r"config\.pbtxt lies in 'mymodel'") as caught:
        fetch((tmp_path / "m").as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert (caught.value.reason, caught.value.retry) == ("BadConfig", "late")


def test_a_zip_is_unpacked(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("1/", "")
        archive.writestr("1/w", "w")
    fetched = fetch((tmp_path / "m.zip").as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert content(fetched.folder) == {"1/w": "w"}


@pytest.mark.parametrize("packed", [False, True])
def test_a_program_stays_one_and_nothing_else_becomes_one(
    tmp_path: Path, into: Path, *, packed: bool
) -> None:
    model_folder(tmp_path / "m")
    (tmp_path / "m" / "1" / "weights").chmod(0o666)
    (tmp_path / "m" / "stub").write_text("#!")
    (tmp_path / "m" / "stub").chmod(0o6777)
    if packed:
        with tarfile.open(tmp_path / "m.tar", "w") as archive:
            archive.add(tmp_path / "m", arcname=".")
    uri = (tmp_path / ("m.tar" if packed else "m")).as_uri()
    folder = fetch(uri, into=into, limits=Limits(), unwanted=wanted).folder
    assert (folder / "stub").stat().st_mode & 0o7777 == 0o555
    assert (folder / "1" / "weights").stat().st_mode & 0o111 == 0


@pytest.mark.parametrize(
    "bad",
    [
        member("../escape"),
        member("/etc/escape"),
        member("1/../../escape"),
        member("..\\escape"),
        member("1/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("1/link", tarfile.SYMTYPE, "w"),
        member("1/link", tarfile.LNKTYPE, "1/w"),
        member("1/pipe", tarfile.FIFOTYPE),
        member("1/disk", tarfile.BLKTYPE),
    ],
    ids=lambda info: f"{info.name} {info.type!r}",
)
def test_what_could_escape_from_a_tar_is_refused(tmp_path: Path, into: Path, bad: tarfile.TarInfo) -> None:
    uri = tar(tmp_path / "m.tar.gz", (member("1/w"), b"w"), (bad, b""))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(StorageError) as caught:
        fetch(uri, into=into, limits=Limits(), unwanted=wanted)
    assert caught.value.reason == "UnsafeArchive"
    assert {p for p in set(tmp_path.rglob("*")) - before if into not in p.parents} == set()


def zip_link(path: Path) -> None:
    info = zipfile.ZipInfo("1/link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")


def zip_escape(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../escape", "x")


@pytest.mark.parametrize("write", [zip_link, zip_escape])
def test_what_could_escape_from_a_zip_is_refused(
    tmp_path: Path, into: Path, write: Callable[[Path], None]
) -> None:
    write(tmp_path / "m.zip")
    with pytest.raises(StorageError) as caught:
        fetch((tmp_path / "m.zip").as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert caught.value.reason == "UnsafeArchive"


@pytest.mark.parametrize("name", ["m.zip", "m.tar.gz", "m.tar", "m.tar.xz", "m.tar.bz2"])
@pytest.mark.parametrize("data", [b"", b"no archive at all", b"\x1f\x8b\x08\x00broken", b"PK\x03\x04broken"])
def test_a_broken_archive_is_refused(tmp_path: Path, into: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StorageError) as caught:
        fetch((tmp_path / name).as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert caught.value.reason == "BadArchive"


def test_a_small_archive_of_a_large_model_stops_at_the_limit(tmp_path: Path, into: Path) -> None:
    uri = tar(tmp_path / "bomb.tgz", (member("1/zeros"), bytes(50_000_000)))
    assert (tmp_path / "bomb.tgz").stat().st_size < 100_000
    with pytest.raises(StorageError, match="more than 2000000 bytes"):
        fetch(uri, into=into, limits=Limits(total_bytes=2_000_000), unwanted=wanted)
    assert sum(p.stat().st_size for p in into.rglob("*") if p.is_file()) <= 2_000_000


def test_too_many_entries_are_refused(tmp_path: Path, into: Path) -> None:
    uri = tar(tmp_path / "m.tgz", *((member(f"1/{i}"), b"") for i in range(20)))
    with pytest.raises(StorageError, match="more than 10 files"):
        fetch(uri, into=into, limits=Limits(entries=10), unwanted=wanted)


def test_a_link_inside_the_source_is_followed_one_that_leaves_it_is_not(tmp_path: Path, into: Path) -> None:
    uri = model_folder(tmp_path / "m")
    (tmp_path / "m" / "1" / "same").symlink_to("weights")
    (into / "a").mkdir()
    fetched = fetch(uri, into=into / "a", limits=Limits(), unwanted=wanted)
    assert (fetched.folder / "1" / "same").read_text() == "m"
    assert not (fetched.folder / "1" / "same").is_symlink()
    (tmp_path / "m" / "1" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("s")
    (into / "b").mkdir()
    with pytest.raises(StorageError) as caught:
        fetch(uri, into=into / "b", limits=Limits(), unwanted=wanted)
    assert caught.value.reason == "UnsafeFolder"


@pytest.mark.parametrize(
    "path",
    ["/proc/self/environ", "/proc/self/fd", "/sys", "/dev/null", "/run/secrets/x", "/", "link/environ"],
)
def test_what_the_machine_keeps_to_itself_is_no_model(tmp_path: Path, into: Path, path: str) -> None:
    (tmp_path / "link").symlink_to("/proc/self")
    with pytest.raises(StorageError, match="does not read /proc") as caught:
        fetch((tmp_path / path).as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert caught.value.reason == "UnsafePath"


def test_a_file_lies_in_a_folder_that_is_allowed(tmp_path: Path, into: Path) -> None:
    reach = Reach(file_dirs=(tmp_path / "one", tmp_path / "two"))
    inside, outside = model_folder(tmp_path / "two" / "m"), model_folder(tmp_path / "twofold")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "link").symlink_to(tmp_path / "twofold")
    for uri in (
        outside,
        (tmp_path / "one" / "link").as_uri(),
        (tmp_path / "two" / ".." / "twofold").as_uri(),
    ):
        with pytest.raises(StorageError, match="lies in no --file-dir") as caught:
            fetch(uri, into=into, limits=Limits(), unwanted=wanted, reach=reach)
        assert caught.value.reason == "UnsafePath"
        (into / "content").rmdir()
        shutil.rmtree(into / "contents")
    assert fetch(inside, into=into, limits=Limits(), unwanted=wanted, reach=reach).total_bytes


def test_a_pipe_does_not_hang_the_download(tmp_path: Path, into: Path) -> None:
    uri = model_folder(tmp_path / "m")
    os.mkfifo(tmp_path / "m" / "1" / "pipe")
    with pytest.raises(StorageError, match="not a plain file"):
        fetch(uri, into=into, limits=Limits(), unwanted=wanted)


def test_a_download_that_nobody_wants_ends(tmp_path: Path, into: Path) -> None:
    uri = model_folder(tmp_path / "m")
    with pytest.raises(SupersededError):
        fetch(uri, into=into, limits=Limits(), unwanted=lambda: True)


@pytest.mark.parametrize(
    ("uri", "reason", "retry"),
    [
        ("ftp://bucket/m", "UnsupportedUri", "late"),
        ("m", "UnsupportedUri", "late"),
        ("file://host/m", "BadUri", "late"),
        ("file:relative", "BadUri", "late"),
        ("file:///no/such/folder", "NotFound", "soon"),
        ("http://127.0.0.1/", "BadUri", "late"),
        ("http://[::1/m", "BadUri", "late"),
        ("http://host:99999/m", "BadUri", "late"),
        ("http:///m", "BadUri", "late"),
        ("https:host/m", "BadUri", "late"),
        ("http:user:secret@host", "BadUri", "late"),
        (f"http://{'n' * 64}.invalid/m", "BadUri", "late"),
        ("file://[/m", "BadUri", "late"),
        ("file:///\ud800", "BadUri", "late"),
        ("", "UnsupportedUri", "late"),
    ],
)
def test_uris_that_cannot_be_read(into: Path, uri: str, reason: str, retry: str) -> None:
    with pytest.raises(StorageError) as caught:
        fetch(uri, into=into, limits=Limits(), unwanted=wanted)
    assert (caught.value.reason, caught.value.retry) == (reason, retry)


@pytest.mark.parametrize("scheme", URI_SCHEMES)
def test_every_scheme_of_the_contract_is_read(into: Path, scheme: str) -> None:
    with pytest.raises(StorageError) as caught:
        fetch(f"{scheme}://", into=into, limits=Limits(), unwanted=wanted)
    assert caught.value.reason == "BadUri"


def test_a_name_hidden_in_an_encoding_is_no_path() -> None:
    assert object_name("https://h/a/m.zip?X-Signature=s") == "m.zip"
    with pytest.raises(StorageError) as caught:
        object_name("https://user:secret@h/a/..?token=secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_damage_that_only_the_checksum_shows_is_seen(tmp_path: Path, into: Path, kind: str) -> None:
    path = tmp_path / f"m.tar.{kind}"
    with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload]
        info = member("1/w")
        info.size = 200_000
        archive.addfile(info, io.BytesIO(Random(0).randbytes(200_000)))
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(StorageError) as caught:
        fetch(path.as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert caught.value.reason == "BadArchive"


def test_an_archive_that_goes_on_behind_its_end_is_refused(tmp_path: Path, into: Path) -> None:
    uri = tar(tmp_path / "m.tgz", (member("1/w"), b"w"))
    with gzip.open(tmp_path / "m.tgz", "ab") as more:
        for _ in range(70):
            more.write(bytes(1 << 20))
    with pytest.raises(StorageError, match="behind its end"):
        fetch(uri, into=into, limits=Limits(), unwanted=wanted)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path, into: Path, kind: bytes) -> None:
    header = member("m", kind)
    header.size = 1 << 40
    (tmp_path / "m.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(StorageError, match="a header of 1099511627776 bytes"):
        fetch((tmp_path / "m.tar").as_uri(), into=into, limits=Limits(), unwanted=wanted)


def refused(path: Path, into: Path, limits: Limits | None = None) -> StorageError:
    """Return why an archive is refused, having looked that it took little memory to find out."""
    tracemalloc.start()
    try:
        with pytest.raises(StorageError) as caught:
            fetch(path.as_uri(), into=into, limits=limits or Limits(), unwanted=wanted)
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()
    return caught.value


def attributes(records: bytes, *, kind: bytes = tarfile.XHDTYPE) -> bytes:
    header = member("pax", kind)
    header.size = len(records)
    return header.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)


def record(keyword: str, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (keyword.encode(), value)
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def test_attributes_of_members_do_not_add_up(tmp_path: Path, into: Path) -> None:
    large = attributes(record("comment", b"a" * 900_000))
    with gzip.open(tmp_path / "m.tar.gz", "wb", 1) as packed:
        for number in range(100):
            packed.write(large + member(f"1/{number}").tobuf(tarfile.USTAR_FORMAT))
        packed.write(member("link", tarfile.SYMTYPE, "x").tobuf())
    assert refused(tmp_path / "m.tar.gz", into).reason == "UnsafeArchive"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (attributes(record("comment", b"a" * 900_000)) * 300, "BadArchive"),
        (attributes(record("GNU.sparse.major", b"1") + record("GNU.sparse.minor", b"0")), "UnsafeArchive"),
        (attributes(record("GNU.sparse.map", b"1,2," * 1000), kind=tarfile.XGLTYPE), "UnsafeArchive"),
        (attributes(b"2 " * 400_000 + b"=\n"), "BadArchive"),
        (attributes(b"1" * 1_000_000), "BadArchive"),
        (attributes(b"".join(record(f"k{n}", b"v") for n in range(20)), kind=tarfile.XGLTYPE), "BadArchive"),
    ],
)
def test_attributes_that_would_fill_the_memory_or_the_day_are_refused(
    tmp_path: Path, into: Path, headers: bytes, reason: str
) -> None:
    with gzip.open(tmp_path / "m.tar.gz", "wb", 1) as packed:
        packed.write(headers + member("1/w").tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    del headers
    assert refused(tmp_path / "m.tar.gz", into).reason == reason


def test_a_file_with_holes_is_refused(tmp_path: Path, into: Path) -> None:
    header = bytearray(member("1/w", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # more of its map follows, and more of that
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    more = b"%011o\0%011o\0" % (5, 1) * 21 + b"\1" + bytes(7)
    with gzip.open(tmp_path / "m.tar.gz", "wb", 1) as packed:
        packed.write(bytes(header) + more * 100_000)
    assert refused(tmp_path / "m.tar.gz", into).reason == "UnsafeArchive"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz"])
def test_what_tar_writes_is_read(tmp_path: Path, into: Path, suffix: str, form: int) -> None:
    """Long names, names in UTF-8, attributes, sizes around a block's, and what git writes."""
    files = {f"1/{'d' * 90}/{'x' * 200}": 0, "1/gewöhnlich": 511, "1/block": 512, "1/large": 3_000_001}
    path = tmp_path / f"m.tar{suffix}"
    with tarfile.open(path, f"w:{suffix[1:]}", format=form, pax_headers={"comment": "0" * 40}) as archive:  # type: ignore[call-overload]
        for name, size in files.items():
            info = member(name)
            info.size, info.mtime = size, 1.5
            archive.addfile(info, io.BytesIO(Random(size).randbytes(size)))
    fetched = fetch(path.as_uri(), into=into, limits=Limits(), unwanted=wanted)
    found = {
        str(p.relative_to(fetched.folder)): p.read_bytes() for p in fetched.folder.rglob("*") if p.is_file()
    }
    assert found == {name: Random(size).randbytes(size) for name, size in files.items()}


def test_xz_streams_behind_one_another_are_one(tmp_path: Path, into: Path) -> None:
    tar(tmp_path / "m.tgz", (member("1/w"), b"w" * 5000))
    raw = gzip.decompress((tmp_path / "m.tgz").read_bytes())
    packed = lzma.compress(raw[:700]) + bytes(8) + lzma.compress(raw[700:]) + bytes(4)
    (tmp_path / "m.tar.xz").write_bytes(packed)
    fetched = fetch((tmp_path / "m.tar.xz").as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert fetched.total_bytes == 5000
    (tmp_path / "cut.tar.xz").write_bytes(packed[:-20])
    (into / "cut").mkdir()
    assert refused(tmp_path / "cut.tar.xz", into / "cut").reason == "BadArchive"


def test_an_xz_that_asks_for_gigabytes_is_refused(tmp_path: Path, into: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    packed = bytearray(lzma.compress(bytes(10_240), check=lzma.CHECK_CRC32, filters=filters))
    block = packed[12 : 12 + (packed[12] + 1) * 4]
    block[block.index(b"\x21\x01") + 2] = 40  # the dictionary: 4 GiB
    block[-4:] = zlib.crc32(block[:-4]).to_bytes(4, "little")
    packed[12 : 12 + len(block)] = block
    (tmp_path / "m.tar.xz").write_bytes(packed)
    error = refused(tmp_path / "m.tar.xz", into)
    assert (error.reason, "Memory usage limit" in str(error)) == ("BadArchive", True)


def test_a_zip_s_directory_is_judged_before_it_is_read(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for number in range(20):
            archive.writestr(f"1/{number}", "x")
    assert refused(tmp_path / "m.zip", into, Limits(entries=10)).reason == "TooLarge"
    packed = (tmp_path / "m.zip").read_bytes()
    end = packed.rindex(b"PK\5\6")
    size = (40 << 20).to_bytes(4, "little")
    # A directory that is as large as it says, for the library checks that.
    (tmp_path / "large.zip").write_bytes(
        bytes(40 << 20) + packed[end : end + 12] + size + bytes(4) + packed[end + 20 :]
    )
    (into / "large").mkdir()
    assert "a directory of" in str(refused(tmp_path / "large.zip", into / "large"))


def test_a_zip_packed_by_lzma_is_refused(tmp_path: Path, into: Path) -> None:
    """Its dictionary may be as large as it says."""
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("1/w", "x")
    assert refused(tmp_path / "m.zip", into).reason == "BadArchive"


def test_folders_deep_in_one_another_are_refused(tmp_path: Path, into: Path) -> None:
    """Nobody could delete them again: that takes a recursion a folder."""
    uri = tar(tmp_path / "m.tar.gz", (member("/".join(["d"] * 80)), b"w"))
    (tmp_path / "m").joinpath(*(["d"] * 80)).mkdir(parents=True)
    for name, source in (("a", uri), ("b", (tmp_path / "m").as_uri())):
        (into / name).mkdir()
        with pytest.raises(StorageError, match="more than 64 deep"):
            fetch(source, into=into / name, limits=Limits(), unwanted=wanted)


@pytest.mark.parametrize("links", [{"self": "."}, {"a": "b", "b": "a"}, {"up": "../1"}])
def test_links_in_a_circle_are_refused(tmp_path: Path, into: Path, links: dict[str, str]) -> None:
    uri = model_folder(tmp_path / "m")
    for name, to in links.items():
        (tmp_path / "m" / "1" / name).symlink_to(to)
    with pytest.raises(StorageError) as caught:
        fetch(uri, into=into, limits=Limits(), unwanted=wanted)
    assert caught.value.reason == "UnsafeFolder"


def test_an_empty_folder_is_no_model_yet(tmp_path: Path, into: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(StorageError, match="no file in it") as caught:
        fetch((tmp_path / "m").as_uri(), into=into, limits=Limits(), unwanted=wanted)
    assert (caught.value.reason, caught.value.retry) == ("Empty", "soon")


class Trickle:
    """Gives some bytes at a time, and the time passes."""

    def __init__(self, amount: int, every_s: float) -> None:
        self.amount, self.every_s, self.now_s = amount, every_s, 0.0

    def read1(self, amount: int, /) -> bytes:
        self.now_s += self.every_s
        return bytes(min(amount, self.amount))


def test_a_store_that_trickles_does_not_keep_a_place_for_ever(tmp_path: Path) -> None:
    slow = Trickle(1, 20.0)
    steady = Steady(slow, "http://user:secret@store/m?sig=secret", seconds=lambda: slow.now_s)
    with pytest.raises(StorageError) as caught:
        Budget(Limits(), wanted).write(steady, tmp_path / "m")
    assert (caught.value.reason, caught.value.retry) == ("TooSlow", "soon")
    assert str(caught.value) == "http://store/m: 3 bytes in 60 s"


def test_a_slow_store_that_goes_on_is_waited_for(tmp_path: Path) -> None:
    slow = Trickle(100_000, 50.0)
    steady = Steady(slow, "http://store/m", seconds=lambda: slow.now_s)
    with pytest.raises(StorageError, match="more than 1000000 bytes"):
        Budget(Limits(total_bytes=1_000_000), wanted).write(steady, tmp_path / "m")
