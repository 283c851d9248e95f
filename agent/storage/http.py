"""``http://`` and ``https://`` URIs: one object, an archive or a single file."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import urllib3

from agent.errors import StorageError
from agent.storage.limits import CHUNK_BYTES, Budget
from agent.storage.proxies import way_to
from agent.storage.source import Item, Listing, checked_path
from agent.storage.uri import public

# Statuses that say "try again" (RFC 9110, 6585): a time-out, too many requests, trouble behind a gateway.
_RETRY_SOON = frozenset({408, 425, 429, 500, 502, 503, 504})
_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_REDIRECTS = 3
_ANYWHERE = frozenset(("Range", "If-Match"))
"""Headers that are no secret, and are sent on to another host that a store redirects to."""
_LEAST_BYTES_PER_S = 1024
_WINDOW_S = 60.0
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
# How an archive ends whose address does not say that it is one; a tar's compression shows in its first bytes.
_ARCHIVES = {
    "application/zip": ".zip",
    "application/x-zip-compressed": ".zip",
    "application/tar": ".tar",
    "application/x-tar": ".tar",
    "application/x-gtar": ".tar",
    "application/gzip": ".tar",
    "application/x-gzip": ".tar",
}
_SUFFIX = re.compile(r"\.[A-Za-z]\w*")
# A signature is made anew for every URL and says nothing about the object.
_SIGNATURE = re.compile(
    r"(?i)x-(?:amz|goog)-.*|s[iekprv]|sig(?:nature)?|st|skoid|sktid|skt|ske|sks|skv|spr|token|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid"
)


class Flowing(Protocol):
    """A response that gives what has come, up to an amount."""

    def read1(self, amount: int, /) -> bytes:
        """Return what has come; empty at the end."""
        ...


class Steady:
    """A response that must not trickle: one byte a minute would keep its place among the downloads for ever.

    Parameters
    ----------
    response
        What is read.
    uri
        Where it comes from.
    seconds
        A clock that only runs forward.
    """

    def __init__(self, response: Flowing, uri: str, seconds: Callable[[], float] = time.monotonic) -> None:
        self._response = response
        self._uri = uri
        self._seconds = seconds
        self._since_s = seconds()
        self._bytes = 0

    def read(self, amount: int, /) -> bytes:
        """Return what has come, up to ``amount`` bytes.

        Raises
        ------
        StorageError
            Less than a kibibyte a second came, over a minute.
        """
        chunk = self._response.read1(amount)
        self._bytes += len(chunk)
        waited_s = self._seconds() - self._since_s
        if chunk and waited_s >= _WINDOW_S:
            if self._bytes < waited_s * _LEAST_BYTES_PER_S:
                raise StorageError(
                    "TooSlow", f"{public(self._uri)}: {self._bytes} bytes in {waited_s:.0f} s", retry="soon"
                )
            self._since_s += waited_s
            self._bytes = 0
        return chunk


def object_name(uri: str) -> str:
    """Return the last part of a URI's path, which names the file.

    Raises
    ------
    StorageError
        The path has none.
    """
    name = PurePosixPath(unquote(urlsplit(uri).path)).name
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise StorageError("BadUri", f"{public(uri)}: the URI names no file")
    return name


@dataclass(slots=True)
class Web:
    """One object on the web.

    Parameters
    ----------
    uri
        Where it is.
    environment
        Headers that its host wants, see `headers_for`.
    """

    uri: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    _first: urllib3.BaseHTTPResponse | None = field(init=False, default=None)

    def listing(self, budget: Budget) -> Listing:
        """Return the object, as the answer to a GET describes it: a signed URL allows nothing else."""
        name = checked_path(object_name(self.uri))
        budget.enter(name)
        response = self._first = ask(self.uri, self._headers)
        headers = response.headers
        name = checked_path(name + _ending(name, headers))
        size = headers.get("Content-Length", "")
        plain = headers.get("Content-Encoding", "identity").lower() == "identity"
        etag = _validator(headers)
        item = Item(
            path=name,
            key=self.uri,
            total_bytes=int(size) if size.isdecimal() and len(size) < 20 and plain else None,
            etag=etag,
            guard=etag if etag is not None and etag.startswith('"') else None,
            ranges=plain and etag is not None and headers.get("Accept-Ranges", "").lower() == "bytes",
            md5=_md5(headers),
            sha256=_sha256(headers),
        )
        budget.announce(item.total_bytes or 0)
        return Listing(place=_identity(self.uri), items=[item], alone=True)

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Yield a range of the object, as long as it is the one that was listed."""
        first = None
        if start == 0:
            first, self._first = self._first, None
        whole = end is None or (start, end) == (0, item.total_bytes)
        if first is not None:
            yield from flow(first, self.uri, end if not whole else None)
        elif whole:
            yield from flow(ask(self.uri, self._headers), self.uri, None)
        else:
            guard, etag = item.guard, item.etag
            yield from read_range(self.uri, start, end or 0, guard=guard, etag=etag, more=self._headers)

    def close(self) -> None:
        """Give up an answer that nobody has read."""
        if self._first is not None:
            self._first.close()
            self._first = None

    @property
    def _headers(self) -> dict[str, str]:
        return headers_for(self.uri, self.environment)


def headers_for(uri: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that a host is sent: KServe's variable ``<host>-headers``, a JSON object.

    Raises
    ------
    StorageError
        It is none.
    """
    variable = f"{urlsplit(uri).hostname}-headers"
    text = environment.get(variable)
    if not text:
        return {}
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not all(_is_header(*pair) for pair in given.items()):
        raise StorageError("BadCredentials", f"{variable}: not a JSON object of headers and their values")
    return given


def _is_header(name: str, value: object) -> bool:
    return _HEADER.fullmatch(name) is not None and isinstance(value, str) and bool(_VALUE.fullmatch(value))


def _ending(name: str, headers: Mapping[str, str]) -> str:
    """Return what is missing at the end of an archive's name, by its answer's type."""
    if _SUFFIX.fullmatch(PurePosixPath(name).suffix):
        return ""
    return _ARCHIVES.get(headers.get("Content-Type", "").partition(";")[0].strip().lower(), "")


def _identity(uri: str) -> str:
    """Return an address without what is in it only to sign it."""
    parts = urlsplit(uri)
    query = [(name, value) for name, value in parse_qsl(parts.query) if not _SIGNATURE.fullmatch(name)]
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path} {sorted(query)}"


def ask(uri: str, headers: Mapping[str, str] = {}) -> urllib3.BaseHTTPResponse:
    """Send a GET and return the answer to it, whose body is not read yet.

    Raises
    ------
    StorageError
        There is no answer, or it is an error.
    """
    try:
        response = way_to(uri).request(
            "GET",
            uri,
            preload_content=False,
            timeout=_TIMEOUT,
            # An archive must arrive as it is stored, so no transfer compression.
            headers={"Accept-Encoding": "identity", **headers},
            # Retries are the loop's; only redirects are followed here.
            retries=urllib3.Retry(
                total=_REDIRECTS,
                connect=0,
                read=0,
                status=0,
                respect_retry_after_header=False,
                remove_headers_on_redirect=headers.keys() - _ANYWHERE,
            ),
        )
    except urllib3.exceptions.MaxRetryError as error:
        if isinstance(error.reason, urllib3.exceptions.ResponseError):
            raise StorageError("TooManyRedirects", f"{public(uri)}: {_REDIRECTS} redirects") from error
        raise StorageError("Unreachable", f"{public(uri)}: {_said(error)}", retry="soon") from error
    except ValueError:  # urllib3's own for addresses are some, too
        raise StorageError("BadUri", f"{public(uri)}: this or where it leads is no address") from None
    except urllib3.exceptions.HTTPError as error:
        raise StorageError("Unreachable", f"{public(uri)}: {_said(error)}", retry="soon") from error
    try:
        _check_status(uri, response.status, 206 if "Range" in headers else 200)
    except StorageError:
        response.close()
        raise
    return response


def read_range(  # noqa: PLR0913 - an address and what the answer is judged by
    uri: str,
    start: int,
    end: int,
    *,
    guard: str | None,
    etag: str | None = None,
    more: Mapping[str, str] = {},
) -> Iterator[bytes]:
    """Yield a range of an object.

    Parameters
    ----------
    uri
        The object.
    start, end
        The range; ``end`` is not in it.
    guard
        Goes into ``If-Match``.
    etag
        What the answer's has to be, if it has one.
    more
        Headers.

    Raises
    ------
    StorageError
        It cannot be had, or is not of the object that was listed.
    """
    asked = {"Range": f"bytes={start}-{end - 1}", **({"If-Match": guard} if guard else {}), **more}
    response = ask(uri, asked)
    starts_there = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    found = _validator(response.headers)
    if not starts_there or (etag is not None and found not in (etag, None)):
        response.close()
        raise StorageError("Changed", f"{public(uri)}: it was changed meanwhile", retry="soon")
    yield from flow(response, uri, end - start)


def flow(response: urllib3.BaseHTTPResponse, uri: str, amount: int | None) -> Iterator[bytes]:
    """Yield the body of an answer, at most so many bytes.

    Raises
    ------
    StorageError
        It breaks off or trickles.
    """
    steady = Steady(response, uri)
    left = amount
    try:
        while left is None or left > 0:
            chunk = steady.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        # urllib3 compares the length announced with the length received; a short body raises at the end.
        raise StorageError("BrokenOff", f"{public(uri)}: {_said(error)}", retry="soon") from error
    finally:
        # At its end it goes back to its pool; one that is not read out cannot be used again.
        response.release_conn() if response.length_remaining == 0 else response.close()


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return what changes when the object does: a strong ETag, or a time long past (RFC 9110, 8.8)."""
    etag = headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    try:
        modified = parsedate_to_datetime(headers.get("Last-Modified", ""))
        now = parsedate_to_datetime(headers.get("Date", ""))
        return modified.isoformat() if (now - modified).total_seconds() >= 60 else None
    except (TypeError, ValueError):
        return None


def _md5(headers: Mapping[str, str]) -> str | None:
    """Return the MD5 that the answer names, as Azure and S3 (RFC 1864) or Google's storage do."""
    google = re.search(r"(?:^|[, ])md5=([A-Za-z0-9+/=]{24})", headers.get("x-goog-hash", ""))
    return _hexadecimal(google[1] if google else headers.get("Content-MD5", ""), 16)


def _sha256(headers: Mapping[str, str]) -> str | None:
    """Return the SHA-256 that the answer names (RFC 9530, 3230)."""
    said = re.search(
        r"(?i)sha-256=:?([A-Za-z0-9+/]{43}=)", headers.get("Repr-Digest", headers.get("Digest", ""))
    )
    return _hexadecimal(said[1], 32) if said else None


def _hexadecimal(text: str, size: int) -> str | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == size else None


def _check_status(uri: str, status: int, expected: int) -> None:
    if status == expected:
        return
    if status in (200, 412, 416):
        raise StorageError("Changed", f"{public(uri)}: it was changed meanwhile", retry="soon")
    reason = "NotFound" if status in (404, 410) else "Denied" if status in (401, 403) else "HttpError"
    raise StorageError(
        reason, f"{public(uri)}: status {status}", retry="soon" if status in _RETRY_SOON else "late"
    )


def _said(error: urllib3.exceptions.HTTPError) -> str:
    """Return what went wrong without the request's own URL, whose query may hold a signature."""
    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    return type(cause).__name__
