"""Sources on the web: what their answers say of a content, and a hub of models."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import pytest

from agent.errors import StorageError
from agent.storage import Contents, Fetched, Limits, Reach, fetch
from agent.storage.transfer import PART_BYTES

CONTENT = b"weights"
MD5 = base64.b64encode(hashlib.md5(CONTENT, usedforsecurity=False).digest()).decode()
SHA256 = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
LARGE = bytes(PART_BYTES) + b"and a second part"


@dataclass(slots=True)
class Site:
    """What is served, and what was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ignores_ranges: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    keys: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: ClassVar[Site]

    def do_GET(self) -> None:
        site, path = self.site, unquote(self.path)
        site.asked.append((path, self.headers.get("Authorization")))
        site.keys.append((path, self.headers.get("X-Key")))
        if path in site.redirects:
            self._say(302, b"", {"Location": site.redirects[path]})
            return
        if path not in site.files:
            self._say(401 if "private" in path and not self.headers.get("Authorization") else 404, b"", {})
            return
        content, asked = site.files[path], self.headers.get("Range")
        if asked is None or site.ignores_ranges:
            self._say(200, content, site.headers)
            return
        start, end = map(int, asked.removeprefix("bytes=").split("-"))
        more = {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        self._say(206, content[start : end + 1], {**site.headers, **more})

    def _say(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up here."""


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": made}))
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


class Fetcher:
    """Fetches into folders of their own, over one set of contents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.contents = Contents(folder / "contents", Limits())
        self.contents.prepare()

    def __call__(self, uri: str, **environment: str) -> Fetched:
        self.count += 1
        into = self.folder / str(self.count)
        into.mkdir()
        reach = Reach(environment=environment)
        return fetch(
            uri, into=into, limits=Limits(), unwanted=lambda: False, contents=self.contents, reach=reach
        )


@pytest.fixture
def get(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        {"Content-MD5": MD5},
        {"x-goog-hash": f"crc32c=AAAAAA==,md5={MD5}"},
        {"Repr-Digest": f"sha-256=:{SHA256}:"},
        {"Digest": f"SHA-256={SHA256}"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_the_checksum_that_an_answer_names_is_compared(
    site: Site, get: Fetcher, header: dict[str, str]
) -> None:
    site.headers = header
    site.files["/m.onnx"] = b"damaged"
    with pytest.raises(StorageError) as caught:
        get(f"{site.url}/m.onnx")
    assert (caught.value.reason, caught.value.retry) == ("Corrupt", "soon")
    site.files["/m.onnx"] = CONTENT
    assert get(f"{site.url}/m.onnx").total_bytes == 7


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"ETag": '"one"'}, True),
        ({"Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT"}, True),
        ({"ETag": 'W/"weak"'}, False),
        ({"Last-Modified": "Thu, 01 Jan 2999 00:00:00 GMT"}, False),
        ({"Last-Modified": "some time"}, False),
        ({}, False),
    ],
)
def test_only_what_shows_its_changes_is_not_fetched_again(
    site: Site, get: Fetcher, headers: dict[str, str], *, kept: bool
) -> None:
    site.headers = headers
    site.files["/m.onnx"] = CONTENT
    assert get(f"{site.url}/m.onnx").fetched_bytes == 7
    assert get(f"{site.url}/m.onnx").fetched_bytes == (0 if kept else 7)


def test_a_server_that_ignores_ranges_is_read_whole_or_not_at_all(site: Site, get: Fetcher) -> None:
    site.files["/m.onnx"] = LARGE
    site.ignores_ranges = True
    assert get(f"{site.url}/m.onnx").total_bytes == len(LARGE)  # it announces none
    site.headers = {"ETag": '"one"', "Accept-Ranges": "bytes"}
    with pytest.raises(StorageError) as caught:
        get(f"{site.url}/m.onnx")
    assert caught.value.reason == "Changed"


HEADERS = '{"Authorization": "Bearer hunter2", "x-key": "hunter3"}'


def test_a_host_s_headers_are_sent_to_it_alone(site: Site, get: Fetcher) -> None:
    site.headers = {"ETag": '"one"', "Accept-Ranges": "bytes"}
    site.files |= {"/m.onnx": LARGE, "/there.onnx": LARGE}
    variable = {"127.0.0.1-headers": HEADERS}
    assert get(f"{site.url}/m.onnx", **variable).total_bytes == len(LARGE)
    assert len(site.keys) == 2  # the listing, whose body is the first range, and the second
    assert {*site.asked, *site.keys} == {("/m.onnx", "Bearer hunter2"), ("/m.onnx", "hunter3")}
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    site.redirects["/n.onnx"] = f"{elsewhere}/there.onnx"
    assert get(f"{site.url}/n.onnx", **variable).total_bytes == len(LARGE)
    assert ("/n.onnx", "hunter3") in site.keys
    assert {key for path, key in site.asked + site.keys if path == "/there.onnx"} == {None}


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        '["hunter2"]',
        '{"x-key": 4711}',
        '{"x-key": "hunter2\\r\\nx: y"}',
        '{"x-key": "hunter2\u2028"}',
        '{"x key": "hunter2"}',
    ],
)
def test_headers_that_are_none_are_named_and_not_told(site: Site, get: Fetcher, text: str) -> None:
    with pytest.raises(StorageError, match=r"127\.0\.0\.1-headers") as caught:
        get(f"{site.url}/m.onnx", **{"127.0.0.1-headers": text})
    assert caught.value.reason == "BadCredentials"
    assert not re.search("hunter2|4711", str(caught.value))
    assert not site.asked


def archive(folder: Path, kind: str) -> bytes:
    (folder / "made" / "1").mkdir(parents=True)
    (folder / "made" / "1" / "weights").write_bytes(CONTENT)
    return Path(shutil.make_archive(str(folder / "m"), kind, folder / "made")).read_bytes()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("zip", "application/zip"),
        ("zip", "Application/X-Zip-Compressed; charset=binary"),
        ("tar", "application/x-tar"),
        ("gztar", "application/gzip"),
        ("gztar", "application/x-gzip"),
    ],
)
def test_an_archive_is_known_by_its_type_where_its_address_does_not_tell(
    site: Site, get: Fetcher, tmp_path: Path, kind: str, said: str
) -> None:
    site.headers = {"Content-Type": said, "ETag": '"one"'}
    site.files["/models/v1.2"] = archive(tmp_path, kind)
    fetched = get(f"{site.url}/models/v1.2")
    assert (fetched.folder / "1" / "weights").read_bytes() == CONTENT
    assert get(f"{site.url}/models/v1.2").fetched_bytes == 0


@pytest.mark.parametrize(("name", "said"), [("m.pt", "application/zip"), ("m", "application/octet-stream")])
def test_what_is_no_archive_by_its_name_or_its_type_stays_as_it_is(
    site: Site, get: Fetcher, tmp_path: Path, name: str, said: str
) -> None:
    site.headers = {"Content-Type": said}
    content = site.files[f"/{name}"] = archive(tmp_path, "zip")
    assert (get(f"{site.url}/{name}").folder / "1" / name).read_bytes() == content


class _NoAddress:
    """A way to where a redirect leads, whose address the library cannot read."""

    def request(self, *_given: object, **_more: object) -> None:
        raise ValueError("hunter2 does not appear to be an address")


def test_a_redirect_to_what_is_no_address(get: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.storage.http.way_to", lambda _: _NoAddress())
    with pytest.raises(StorageError, match="no address") as caught:
        get("http://models.invalid/m.onnx")
    assert caught.value.reason == "BadUri"
    assert "hunter2" not in str(caught.value)


def hub(site: Site, files: dict[str, bytes], *, revision: str = "main") -> None:
    """Make a repository as the hub shows it: this is a fake of two of its addresses."""
    siblings = [
        {
            "rfilename": name,
            "size": len(content),
            "blobId": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
            **({"lfs": {"sha256": hashlib.sha256(content).hexdigest()}} if len(content) > 100 else {}),
        }
        for name, content in files.items()
    ]
    answer = json.dumps({"sha": "c0ffee", "siblings": siblings}).encode()
    site.files[f"/api/models/owner/repo/revision/{revision}?blobs=true"] = answer
    site.files |= {f"/owner/repo/resolve/c0ffee/{name}": content for name, content in files.items()}


FILES = {".gitattributes": b"git", "README.md": b"read me", "sub/ä b.bin": LARGE}


def test_a_repository_of_the_hub(site: Site, get: Fetcher) -> None:
    hub(site, FILES)
    fetched = get("hf://owner/repo", HF_ENDPOINT=site.url, HF_TOKEN="hunter2")
    assert (fetched.folder / "1" / "README.md").read_bytes() == b"read me"
    assert (fetched.folder / "1" / "sub" / "ä b.bin").read_bytes() == LARGE
    assert not (fetched.folder / "1" / ".gitattributes").exists()
    assert {token for _, token in site.asked} == {"Bearer hunter2"}
    assert get("hf://owner/repo", HF_ENDPOINT=site.url).fetched_bytes == 0


def test_what_two_revisions_share_is_fetched_once(site: Site, get: Fetcher) -> None:
    hub(site, FILES)
    get("hf://owner/repo", HF_ENDPOINT=site.url)
    hub(site, FILES | {"README.md": b"read this"}, revision="v2")
    site.asked.clear()
    fetched = get("hf://owner/repo:v2", HF_ENDPOINT=site.url)
    assert fetched.fetched_bytes == 9
    assert (fetched.folder / "1" / "sub" / "ä b.bin").read_bytes() == LARGE
    assert [path.rpartition("/")[2] for path, _ in site.asked] == ["v2?blobs=true", "README.md"]


def test_what_was_changed_here_is_fetched_again_for_another_revision(
    site: Site, get: Fetcher, tmp_path: Path
) -> None:
    hub(site, FILES)
    get("hf://owner/repo", HF_ENDPOINT=site.url)
    [kept] = [
        path for path in (tmp_path / "contents" / "files").rglob("*") if path.stat().st_size == len(LARGE)
    ]
    kept.chmod(0o644)
    kept.write_bytes(LARGE[:-1] + b"!")
    hub(site, FILES | {"README.md": b"read this"}, revision="v2")
    fetched = get("hf://owner/repo:v2", HF_ENDPOINT=site.url)
    assert fetched.fetched_bytes == 9 + len(LARGE)
    assert (fetched.folder / "1" / "sub" / "ä b.bin").read_bytes() == LARGE
    assert kept.read_bytes() == LARGE


def test_a_revision_of_the_hub_and_a_store_behind_it(site: Site, get: Fetcher) -> None:
    hub(site, FILES, revision="v1/x")
    site.files["/cdn/large"] = LARGE
    # Where the content lies the token is nobody's business: another host, so it is not sent along.
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    site.redirects["/owner/repo/resolve/c0ffee/sub/ä b.bin"] = f"{elsewhere}/cdn/large"
    fetched = get("hf://owner/repo:v1/x", HF_ENDPOINT=site.url, HF_TOKEN="hunter2")
    assert (fetched.folder / "1" / "sub" / "ä b.bin").read_bytes() == LARGE
    assert {token for path, token in site.asked if path == "/cdn/large"} == {None}


def test_damage_from_the_hub_is_seen(site: Site, get: Fetcher) -> None:
    hub(site, FILES)
    site.files["/owner/repo/resolve/c0ffee/sub/ä b.bin"] = LARGE[:-1] + b"!"
    with pytest.raises(StorageError, match="SHA-256"):
        get("hf://owner/repo", HF_ENDPOINT=site.url)


@pytest.mark.parametrize(
    ("uri", "answer", "reason"),
    [
        ("hf://owner", None, "BadUri"),
        ("hf://owner/repo/x", None, "BadUri"),
        ("hf://owner/absent", None, "NotFound"),
        ("hf://owner/private", None, "Denied"),
        ("hf://owner/repo", b"[", "HttpError"),
        ("hf://owner/repo", b"{}", "HttpError"),
        ("hf://owner/repo", b'{"sha": "c", "siblings": [{"rfilename": "../x", "size": 1}]}', "UnsafePath"),
        ("hf://owner/repo", b'{"sha": "c", "siblings": [{"rfilename": "x"}]}', "HttpError"),
        ("hf://owner/repo", b'{"sha": "c", "siblings": []}', "Empty"),
    ],
)
def test_what_is_no_repository(site: Site, get: Fetcher, uri: str, answer: bytes | None, reason: str) -> None:
    if answer is not None:
        site.files["/api/models/owner/repo/revision/main?blobs=true"] = answer
    with pytest.raises(StorageError) as caught:
        get(uri, HF_ENDPOINT=site.url)
    assert caught.value.reason == reason
