"""Object stores, through obstore: ``s3://``, ``gs://``, Azure blobs (``https://``, ``az://``, ``abfs://``).

Which variables say what follows KServe's storage initializer, so that a service account's Secret serves both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote

from agent.errors import StorageError, SupersededError
from agent.storage.credentials import fault
from agent.storage.limits import Budget
from agent.storage.reach import Reach, s3_environment
from agent.storage.source import Item, Listing, checked_path

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
AZURE_HOST = ".blob.core.windows.net"

_STREAM_BYTES = 1 << 18
_MD5 = re.compile(r"[0-9a-f]{32}")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_GOOGLE_IDENTITY = "/computeMetadata/"  # in the address by which a machine of Google's tells who it is
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,221}")  # Ceph writes a tenant and a colon in front
_PLAIN_NAME = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,221}")  # another's colon would be that of a password
# A part of 16 MiB in a quarter of an hour is 18 KiB a second; silence of a minute ends it sooner.
_CLIENT: dict[str, Any] = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "15m"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder, or an object, in a store.

    Parameters
    ----------
    kind
        ``s3``, ``gs`` or ``az``.
    bucket
        Or container.
    key
        Without a slash at either end; empty is the whole bucket.
    account
        Azure's; None takes the environment's.
    """

    kind: str
    bucket: str
    key: str
    account: str | None = None

    @property
    def shown(self) -> str:
        """Return it as it is told: no secret is in it."""
        host = f"{self.account}{AZURE_HOST}/{self.bucket}" if self.account else self.bucket
        return f"{self.kind}://{host}/{self.key}".rstrip("/")


def is_azure(parts: SplitResult) -> bool:
    """Return whether an ``https://`` URI names Azure blobs; a signed one is a download like any other."""
    return (parts.hostname or "").endswith(AZURE_HOST) and "sig=" not in parts.query


def place_of(parts: SplitResult) -> Place:
    """Return what a URI names.

    Raises
    ------
    StorageError
        It names no bucket, or a key that can be none.
    """
    host, path = parts.netloc, parts.path.strip("/")
    account = None
    if parts.scheme == "https":
        account = (parts.hostname or "").removesuffix(AZURE_HOST)
        host, _, path = unquote(path).partition("/")
    elif parts.scheme in ("abfs", "abfss") and "@" in host:
        host, _, full = host.partition("@")
        account = full.split(".")[0]
    named = _NAME if parts.scheme == "s3" else _PLAIN_NAME
    if not named.fullmatch(host) or (account is not None and not named.fullmatch(account)):
        raise StorageError("BadUri", f"{parts.scheme}: the URI names no bucket")
    if path:
        checked_path(path)
    kind = parts.scheme if parts.scheme in ("s3", "gs") else "az"
    return Place(kind=kind, bucket=host, key=path, account=account)


@dataclass(slots=True)
class Bucket:
    """The objects under a key: those in the folder that it names, or itself.

    Parameters
    ----------
    place
        What is read.
    reach
        Whose credentials.
    """

    place: Place
    reach: Reach
    _store: ObjectStore = field(init=False)
    _unsigned: Callable[[], ObjectStore] = field(init=False)
    _identity: str = field(init=False)

    def __post_init__(self) -> None:
        try:
            import obstore  # noqa: F401
        except ImportError:
            raise StorageError(
                "NotInstalled", f"{self.place.shown}: object stores need obstore: install shardpack[storage]"
            ) from None
        config, client = _settings(self.place, self.reach)
        self._identity = f"{self.place.shown} {config.get('endpoint', '')}{config.get('base_url', '')}"
        self._store = _opened(self.place, config, client)
        self._unsigned = lambda: _opened(self.place, config | {"skip_signature": True}, client)

    def listing(self, budget: Budget) -> Listing:
        """Return the objects of the folder, or the one object of that name."""
        try:
            return self._listed(budget)
        except StorageError as error:
            if error.reason != "NoIdentity":
                raise
            self._store = self._unsigned()
            try:  # a public bucket asks for none
                return self._listed(budget)
            except SupersededError:
                raise
            except StorageError:
                raise error from None

    def _listed(self, budget: Budget) -> Listing:
        with _Told(self.place):
            found = self._folder(budget)
            if found or not self.place.key:
                return Listing(place=self._identity, items=found)
            return Listing(place=self._identity, items=[self._alone(budget)], alone=True)

    def _folder(self, budget: Budget) -> Sequence[Item]:
        import obstore

        # A key is a folder's name, not the beginning of one: m/sk does not name m/sk2.
        skip = len(self.place.key) + 1 if self.place.key else 0
        found: dict[str, Item] = {}
        for batch in obstore.list(self._store, self.place.key or None, chunk_size=1000):
            for meta in batch:
                path = meta["path"][skip:]
                if not path:
                    continue  # the folder's own marker
                budget.enter(path)
                found[path] = _item(meta, path)
        folders = {path[: end.start()] for path in found for end in re.finditer("/", path)}
        # Consoles write an empty object for a folder; its slash is lost in the listing.
        markers = {path for path, item in found.items() if path in folders and item.total_bytes == 0}
        clashes = sorted((folders & found.keys()) - markers)
        if clashes:
            raise StorageError("UnsafePath", f"{clashes[0]!r} is an object and a folder")
        items = [item for path, item in sorted(found.items()) if path not in markers]
        budget.announce(sum(item.total_bytes or 0 for item in items))
        return items

    def _alone(self, budget: Budget) -> Item:
        import obstore

        meta = obstore.head(self._store, self.place.key)
        name = self.place.key.rpartition("/")[2]
        budget.enter(name)
        budget.announce(meta["size"])
        return _item(meta, name)

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        """Yield a range of an object, as long as it is the one that was listed."""
        import obstore

        options: dict[str, Any] = {"if_match": item.guard} if item.guard is not None else {}
        if end is not None and (start, end) != (0, item.total_bytes):
            options["range"] = (start, end)
        with _Told(self.place):
            result = obstore.get(self._store, item.key, options=options)  # type: ignore[arg-type]  # a TypedDict
            if item.etag is not None and _bare(result.meta["e_tag"]) not in (item.etag, None):
                raise StorageError("Changed", f"{self.place.shown}: {item.path!r} was changed", retry="soon")
            yield from result.stream(min_chunk_size=_STREAM_BYTES)

    def close(self) -> None:
        """Do nothing: connections are kept for the next model of this bucket."""


def _item(meta: Any, path: str) -> Item:
    etag = _bare(meta["e_tag"])
    strong = etag is not None and not etag.startswith("W/")
    md5 = _MD5.fullmatch(etag or "")
    return Item(
        path=checked_path(path),
        key=meta["path"],
        total_bytes=meta["size"],
        etag=etag,
        guard=f'"{etag}"' if strong else None,
        md5=md5[0] if md5 else None,
        md5_is_etag=True,
    )


def _bare(etag: str | None) -> str | None:
    """Return an ETag without its quotes: Azure writes them in an answer's header and not in a listing."""
    return etag.strip('"') if etag else None


class _Told:
    """Turns what obstore raises into errors that say no secret: its own hold requests and answers."""

    def __init__(self, place: Place) -> None:
        self._where = place.shown

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if (
            error is None
            or isinstance(error, StorageError | GeneratorExit)
            or not isinstance(error, Exception)
        ):
            return
        judged = _judged(self._where, error)
        if judged is not None:
            raise judged from None


def _judged(where: str, error: Exception) -> StorageError | None:  # noqa: PLR0911 - one a case
    """Return what an error of obstore's means; None where it is none of them."""
    from obstore.exceptions import (
        BaseError,
        InvalidPathError,
        PermissionDeniedError,
        PreconditionError,
        UnauthenticatedError,
    )

    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    number = int(status[1]) if status else None
    said = " ".join(part for part in (f"status {number}" if number else "", code[1] if code else "") if part)
    if _GOOGLE_IDENTITY in text:
        return StorageError(
            "NoIdentity",
            f"{where}: no GOOGLE_APPLICATION_CREDENTIALS, no answer from this machine's identity"
            f" ({said or 'no connection'}), and without one the bucket does not answer",
            retry="soon",
        )
    if isinstance(error, FileNotFoundError) or number == 404:
        return StorageError("NotFound", f"{where}: no such object or bucket")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or number in (401, 403):
        _client.cache_clear()  # credentials may have been changed where they lie
        return StorageError("Denied", f"{where}: {said or 'access denied'}")
    if isinstance(error, PreconditionError) or number in (412, 416):
        return StorageError("Changed", f"{where}: an object was changed meanwhile", retry="soon")
    if isinstance(error, ValueError | InvalidPathError):
        return StorageError("UnsafePath", f"{where}: a key in it can be no path")
    if not isinstance(error, BaseError):
        return None
    if number is not None:
        passing = number >= 500 or number in (408, 425, 429)
        return StorageError("HttpError", f"{where}: {said}", retry="soon" if passing else "late")
    if "error sending request" in text:
        return StorageError("Unreachable", f"{where}: no answer", retry="soon")
    return StorageError("BrokenOff", f"{where}: {type(error).__name__}", retry="soon")


# ------------------------------------------------------------------------------------------- opening a store


def _settings(place: Place, reach: Reach) -> tuple[dict[str, Any], dict[str, Any]]:
    match place.kind:
        case "s3":
            return s3_config(s3_environment(reach, place.bucket))
        case "gs":
            return gcs_config(reach.environment)
        case _:
            return azure_config(reach.environment, place.account)


def _opened(place: Place, config: dict[str, Any], client: dict[str, Any]) -> ObjectStore:
    try:
        return _client(place.kind, place.bucket, tuple(sorted(config.items())), tuple(sorted(client.items())))
    except Exception as error:  # noqa: BLE001 - whatever the library says may hold a credential
        found = fault(place.kind, place.shown, config)
        raise found or StorageError(
            "BadCredentials", f"{place.shown}: the store cannot be opened: {type(error).__name__}"
        ) from None


@lru_cache(maxsize=64)
def _client(
    kind: str, bucket: str, config: tuple[tuple[str, Any], ...], client: tuple[tuple[str, Any], ...]
) -> ObjectStore:
    """Return a store; one a bucket, so that connections are used again."""
    from obstore.store import AzureStore, GCSStore, S3Store

    store: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[kind]
    given = _shut(dict(config), bucket) if kind == "s3" else {"config": dict(config)}
    opened: ObjectStore = store(
        bucket,
        **given,
        client_options={**_CLIENT, **dict(client)},
        # The loop tries again with growing waits; here only a stumble is passed over.
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=30)},
    )
    return opened


def _with_bucket(endpoint: str, bucket: str) -> str:
    """Return the address of a bucket that is a host of its own: the library adds it to no endpoint."""
    scheme, _, host = endpoint.partition("://")
    return endpoint if host.startswith(f"{bucket}.") else f"{scheme}://{bucket}.{host}"


def _shut(config: dict[str, Any], bucket: str) -> dict[str, Any]:
    """Return the arguments of an S3 store into which the process's environment does not get.

    The library reads ``AWS_*`` by itself for what it is not told: the token of the environment's key would be
    sent with another's, and its service's own endpoint comes before the one that is given.
    """
    arguments: dict[str, Any] = {"config": config}
    if "endpoint" in config:
        endpoint = config.pop("endpoint")
        virtual = config.get("virtual_hosted_style_request")
        config["aws_endpoint_url_s3"] = _with_bucket(endpoint, bucket) if virtual else endpoint
    if "access_key_id" in config and "secret_access_key" in config and not config.get("skip_signature"):
        credential = {
            "access_key_id": config.pop("access_key_id"),
            "secret_access_key": config.pop("secret_access_key"),
            "token": config.pop("session_token", None),
            "expires_at": None,
        }
        arguments["credential_provider"] = lambda: credential
    return arguments


def s3_config(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a store and of its client, from KServe's variables."""
    said = {
        "access_key_id": environment.get("AWS_ACCESS_KEY_ID"),
        "secret_access_key": environment.get("AWS_SECRET_ACCESS_KEY"),
        "session_token": environment.get("AWS_SESSION_TOKEN"),
        "region": environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or "us-east-1",
        "endpoint": _s3_endpoint(environment),
    }
    config: dict[str, Any] = {name: value for name, value in said.items() if value}
    for setting, variable in (
        ("virtual_hosted_style_request", "S3_USE_VIRTUAL_BUCKET"),
        ("skip_signature", "awsAnonymousCredential"),
    ):
        if _is(environment, variable, _TRUE | _FALSE):
            config[setting] = _is(environment, variable, _TRUE)
    client: dict[str, Any] = {}
    if str(config.get("endpoint", "")).startswith("http:"):
        client["allow_http"] = True
    if _is(environment, "S3_VERIFY_SSL", _FALSE):
        client["allow_invalid_certificates"] = True
    certificate = environment.get("AWS_CA_BUNDLE_TEXT") or _text(environment.get("AWS_CA_BUNDLE"))
    if certificate:
        client["root_certificate"] = certificate
    return config, client


def _s3_endpoint(environment: Mapping[str, str]) -> str | None:
    given = environment.get("AWS_ENDPOINT_URL") or environment.get("S3_ENDPOINT")
    if not given or "://" in given:
        return given
    return f"{'http' if _is(environment, 'S3_USE_HTTPS', _FALSE) else 'https'}://{given}"


def gcs_config(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a store and of its client; without a key file the machine's identity counts."""
    config: dict[str, Any] = {}
    if path := environment.get("GOOGLE_APPLICATION_CREDENTIALS"):
        config["application_credentials"] = path
    base = environment.get("STORAGE_EMULATOR_HOST")
    if not base:
        return config, {}
    # Google's own clients speak to an emulator without credentials.
    base = base if "://" in base else f"http://{base}"
    return {"base_url": base, "skip_signature": True}, {"allow_http": True}


def azure_config(
    environment: Mapping[str, str], account: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a store and of its client; without any credential it asks without."""
    names = {
        "client_id": ("AZURE_CLIENT_ID", "AZ_CLIENT_ID"),
        "tenant_id": ("AZURE_TENANT_ID", "AZ_TENANT_ID"),
        "client_secret": ("AZURE_CLIENT_SECRET", "AZ_CLIENT_SECRET"),
        "federated_token_file": ("AZURE_FEDERATED_TOKEN_FILE",),
        "account_key": ("AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY"),
        "sas_key": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
        "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "msi_endpoint": ("AZURE_MSI_ENDPOINT", "IDENTITY_ENDPOINT"),
    }
    config: dict[str, Any] = {}
    for setting, variables in names.items():
        if value := next((environment[name] for name in variables if environment.get(name)), None):
            config[setting] = value
    if name := account or environment.get("AZURE_STORAGE_ACCOUNT_NAME"):
        config["account_name"] = name
    if not config.keys() & {"client_id", "account_key", "sas_key", "msi_endpoint"}:
        config["skip_signature"] = True
    return config, {"allow_http": True} if str(config.get("endpoint", "")).startswith("http:") else {}


def _is(environment: Mapping[str, str], name: str, values: frozenset[str]) -> bool:
    return environment.get(name, "").strip().lower() in values


def _text(path: str | None) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        raise StorageError(
            "BadCredentials", "AWS_CA_BUNDLE: no such certificate file", retry="soon"
        ) from None
