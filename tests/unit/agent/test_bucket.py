"""What URIs name, and what KServe's variables say to the stores' client."""

from __future__ import annotations

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from agent.errors import StorageError
from agent.storage.bucket import (
    Bucket,
    Place,
    _client,
    azure_config,
    gcs_config,
    is_azure,
    place_of,
    s3_config,
)
from agent.storage.file import claim_path
from agent.storage.limits import Budget, Limits
from agent.storage.reach import Reach, s3_environment
from agent.storage.source import checked_path


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://bucket/m/sk/", Place(kind="s3", bucket="bucket", key="m/sk")),
        ("s3://bucket", Place(kind="s3", bucket="bucket", key="")),
        ("s3://tenant:bucket/m", Place(kind="s3", bucket="tenant:bucket", key="m")),
        ("az://$web/m", Place(kind="az", bucket="$web", key="m")),
        ("gs://my-bucket/a b", Place(kind="gs", bucket="my-bucket", key="a b")),
        ("az://container/m", Place(kind="az", bucket="container", key="m")),
        ("abfs://container/m", Place(kind="az", bucket="container", key="m")),
        (
            "abfss://container@account.dfs.core.windows.net/m",
            Place(kind="az", bucket="container", key="m", account="account"),
        ),
        (
            "https://account.blob.core.windows.net/container/m/1",
            Place(kind="az", bucket="container", key="m/1", account="account"),
        ),
    ],
)
def test_what_a_uri_names(uri: str, place: Place) -> None:
    assert place_of(urlsplit(uri)) == place


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://", "BadUri"),
        ("s3:///m", "BadUri"),
        ("s3://key:secret@bucket/m", "BadUri"),
        ("s3://../m", "BadUri"),
        ("abfs://c:secret@account/m", "BadUri"),
        ("az://c:secret/m", "BadUri"),
        ("gs://u:secret/m", "BadUri"),
        ("abfs://c@u:8/m", "BadUri"),
        ("https://account.blob.core.windows.net/", "BadUri"),
        ("s3://bucket/a/../b", "UnsafePath"),
        ("s3://bucket/a//b", "UnsafePath"),
        ("gs://bucket/a\\b", "UnsafePath"),
    ],
)
def test_uris_that_name_nothing(uri: str, reason: str) -> None:
    with pytest.raises(StorageError) as caught:
        place_of(urlsplit(uri))
    assert caught.value.reason == reason
    assert "secret" not in str(caught.value)


def test_a_signed_blob_is_a_download_like_any_other() -> None:
    assert is_azure(urlsplit("https://account.blob.core.windows.net/c/m"))
    assert not is_azure(urlsplit("https://account.blob.core.windows.net/c/m?sv=1&sig=secret"))
    assert not is_azure(urlsplit("https://example.org/blob.core.windows.net/m"))


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "../x", "a/../b", "a/./b", "a//b", "a\\b", "a\0b", "n" * 256]
)
def test_keys_that_are_no_path(key: str) -> None:
    with pytest.raises(StorageError) as caught:
        checked_path(key)
    assert caught.value.reason == "UnsafePath"


def test_s3_by_kserve_s_variables(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    config, client = s3_config(
        {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "eu-1",
            "S3_ENDPOINT": "minio:9000",
            "S3_USE_HTTPS": "0",
            "S3_VERIFY_SSL": "0",
            "S3_USE_VIRTUAL_BUCKET": "true",
            "AWS_CA_BUNDLE": str(tmp_path / "ca.pem"),
        }
    )
    assert config == {
        "access_key_id": "key",
        "secret_access_key": "secret",
        "region": "eu-1",
        "endpoint": "http://minio:9000",
        "virtual_hosted_style_request": True,
    }
    assert client == {"allow_http": True, "allow_invalid_certificates": True, "root_certificate": "PEM"}
    assert s3_config({"S3_ENDPOINT": "minio"})[0]["endpoint"] == "https://minio"
    assert s3_config({"S3_ENDPOINT": "a", "AWS_ENDPOINT_URL": "https://b"})[0]["endpoint"] == "https://b"
    assert s3_config({"awsAnonymousCredential": "true"})[0]["skip_signature"] is True
    assert s3_config({}) == ({"region": "us-east-1"}, {})
    with pytest.raises(StorageError, match="AWS_CA_BUNDLE"):
        s3_config({"AWS_CA_BUNDLE": str(tmp_path / "absent")})


def test_google_and_azure_by_their_variables() -> None:
    assert gcs_config({"GOOGLE_APPLICATION_CREDENTIALS": "/key.json"}) == (
        {"application_credentials": "/key.json"},
        {},
    )
    assert gcs_config({}) == ({}, {})
    assert azure_config(
        {"AZURE_CLIENT_ID": "i", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": "s"}, "a"
    ) == (
        {"client_id": "i", "tenant_id": "t", "client_secret": "s", "account_name": "a"},
        {},
    )
    assert azure_config({}, "a")[0] == {"account_name": "a", "skip_signature": True}


def entry(**fields: object) -> str:
    return json.dumps({"type": "s3", "access_key_id": "theirs", "secret_access_key": "s", **fields})


def test_a_bucket_s_entry_in_the_storage_config(tmp_path: Path) -> None:
    (tmp_path / "ours").write_text(entry(bucket="ours", endpoint_url="http://minio", region="r"))
    (tmp_path / "default_s3").write_text(entry(access_key_id="default"))
    (tmp_path / "broken").write_text("{")
    (tmp_path / "gcs").write_text('{"type": "gs", "bucket": "ours"}')
    reach = Reach(
        storage_config=tmp_path, environment={"AWS_ACCESS_KEY_ID": "env", "AWS_SESSION_TOKEN": "env"}
    )
    assert s3_environment(reach, "ours") == {
        "AWS_ACCESS_KEY_ID": "theirs",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_ENDPOINT_URL": "http://minio",
        "AWS_DEFAULT_REGION": "r",
        "S3_USE_VIRTUAL_BUCKET": "false",
        "awsAnonymousCredential": "false",
    }
    assert s3_environment(reach, "another")["AWS_ACCESS_KEY_ID"] == "default"
    (tmp_path / "default_s3").unlink()
    assert s3_environment(reach, "another")["AWS_ACCESS_KEY_ID"] == "env"


@pytest.mark.parametrize(
    ("fields", "environment", "anonymous"),
    [
        ({"endpoint_url": "http://minio"}, {}, "true"),
        ({"region": "r"}, {"AWS_ACCESS_KEY_ID": "env"}, "true"),
        ({"region": "r"}, {"AWS_ROLE_ARN": "role"}, None),
        ({"access_key_id": "theirs"}, {"AWS_SECRET_ACCESS_KEY": "env", "AWS_ACCESS_KEY_ID": "env"}, "true"),
    ],
)
def test_an_entry_without_a_key_does_not_borrow_the_environment_s(
    tmp_path: Path, fields: dict[str, str], environment: dict[str, str], anonymous: str | None
) -> None:
    (tmp_path / "default").write_text(json.dumps({"type": "s3", **fields}))
    said = s3_environment(Reach(storage_config=tmp_path, environment=environment), "b")
    assert said.get("awsAnonymousCredential") == anonymous
    assert "env" not in said.values()
    assert said["AWS_ENDPOINT_URL"] in (
        "http://minio",
        f"https://s3.{said['AWS_DEFAULT_REGION']}.amazonaws.com",
    )


class _Ear(BaseHTTPRequestHandler):
    """Notes what it is sent, and refuses."""

    heard: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.heard.append({"path": self.path} | {name.lower(): value for name, value in self.headers.items()})
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("keys", [{}, {"access_key_id": "THEIRS", "secret_access_key": "s"}])
def test_the_environment_s_credentials_do_not_reach_an_entry_s_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]
) -> None:
    pytest.importorskip("obstore")
    environment = {
        "AWS_ACCESS_KEY_ID": "ENVKEY",
        "AWS_SECRET_ACCESS_KEY": "env-secret",
        "AWS_SESSION_TOKEN": "ENVTOKEN",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_SKIP_SIGNATURE": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Ear) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "default").write_text(json.dumps({"type": "s3", "endpoint_url": url, **keys}))
        _Ear.heard.clear()
        with pytest.raises(StorageError, match="403"):
            Bucket(
                Place(kind="s3", bucket="b", key="m"), Reach(storage_config=tmp_path, environment=environment)
            ).listing(Budget(Limits(), lambda: False))
        server.shutdown()
    said = str(_Ear.heard)
    assert ("THEIRS" in said) == bool(keys)
    assert "ENVKEY" not in said
    assert "x-amz-security-token" not in said
    assert ("authorization" in said) == bool(keys)


@pytest.mark.parametrize(
    ("endpoint", "virtual", "address"),
    [
        ("http://store.invalid:9000", "false", "http://store.invalid:9000/bucket?"),
        ("http://store.invalid:9000", "true", "http://bucket.store.invalid:9000/?"),
        ("http://bucket.store.invalid", "true", "http://bucket.store.invalid/?"),
    ],
)
def test_a_bucket_that_is_a_host_is_asked_for_there_by_way_of_the_environment_s_proxy(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, virtual: str, address: str
) -> None:
    pytest.importorskip("obstore")
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "S3_USE_VIRTUAL_BUCKET": virtual,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s",
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), _Ear) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
        _client.cache_clear()  # a client keeps the proxy that it was made with
        _Ear.heard.clear()
        with pytest.raises(StorageError, match="403"):
            Bucket(Place(kind="s3", bucket="bucket", key="m"), Reach(environment=environment)).listing(
                Budget(Limits(), lambda: False)
            )
        server.shutdown()
    _client.cache_clear()
    assert {heard["path"].partition("?")[0] + "?" for heard in _Ear.heard} == {address}
    assert {heard["host"] for heard in _Ear.heard} == {urlsplit(address).netloc}


def test_credentials_are_not_shown() -> None:
    assert "secret" not in repr(Reach(environment={"AWS_SECRET_ACCESS_KEY": "secret"}))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(StorageError, match=r"install shardpack\[storage\]") as caught:
        Bucket(Place(kind="s3", bucket="bucket", key="m"), Reach(environment={}))
    assert (caught.value.reason, caught.value.retry) == ("NotInstalled", "late")


def test_a_credential_that_is_none_is_not_told(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    (tmp_path / "key.json").write_text('{"private_key": "secret"')
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")}
    with pytest.raises(StorageError) as caught:
        Bucket(Place(kind="gs", bucket="bucket", key="m"), Reach(environment=environment))
    assert caught.value.reason == "BadCredentials"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said", "retry"),
    [
        (None, "No such file", "soon"),
        ("secret", "is not JSON", "late"),
        ("{}", "has another type or none", "late"),
        ('["secret"]', "has another type or none", "late"),
        ('{"type": "external_account", "secret": "secret"}', "is of type external_account", "late"),
        ('{"type": "service_account", "private_key": "secret"}', "is incomplete", "late"),
    ],
)
def test_what_is_wrong_with_a_key_file_is_told_without_its_content(
    tmp_path: Path, content: str | None, said: str, retry: str
) -> None:
    pytest.importorskip("obstore")
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StorageError, match=said) as caught:
        Bucket(
            Place(kind="gs", bucket="bucket", key="m"),
            Reach(environment={"GOOGLE_APPLICATION_CREDENTIALS": str(path)}),
        )
    assert (caught.value.reason, caught.value.retry) == ("BadCredentials", retry)
    assert f"GOOGLE_APPLICATION_CREDENTIALS: {path}" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCESS_KEY": "secret!"}, "not base64"),
        ({"AZURE_STORAGE_ACCESS_KEY": "c2VjcmV0"}, "AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_what_is_wrong_with_azure_s_variables_is_told_without_the_key(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    pytest.importorskip("obstore")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StorageError, match=said) as caught:
        Bucket(Place(kind="az", bucket="container", key="m"), Reach(environment=environment))
    assert caught.value.reason == "BadCredentials"
    assert not re.search("secret|c2VjcmV0", str(caught.value))


class _World(_Ear):
    """A proxy beyond which there is a bucket, and no identity."""

    public: ClassVar[bool]

    def do_GET(self) -> None:
        if "computeMetadata" in self.path or not self.public:
            super().do_GET()
            return
        body = (
            b"<ListBucketResult><Contents><Key>m/1</Key><ETag>e</ETag><Size>1</Size>"
            b"<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
        )
        self.heard.append({"path": self.path} | {name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize("public", [True, False])
def test_a_machine_without_an_identity_reads_a_public_bucket_of_google_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, public: bool
) -> None:
    pytest.importorskip("obstore")
    monkeypatch.setenv("HOME", str(tmp_path))  # where gcloud keeps what it knows
    settings = {"base_url": "http://store.invalid"}, {"allow_http": True}
    monkeypatch.setattr("agent.storage.bucket.gcs_config", lambda _: settings)
    with ThreadingHTTPServer(("127.0.0.1", 0), _World) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
        _client.cache_clear()
        _World.public = public
        _Ear.heard.clear()
        bucket = Bucket(Place(kind="gs", bucket="bucket", key="m"), Reach(environment={}))
        if public:
            assert [item.path for item in bucket.listing(Budget(Limits(), lambda: False)).items] == ["1"]
        else:
            with pytest.raises(StorageError, match="identity") as caught:
                bucket.listing(Budget(Limits(), lambda: False))
            assert (caught.value.reason, caught.value.retry) == ("NoIdentity", "soon")
        server.shutdown()
    _client.cache_clear()
    assert "authorization" not in _Ear.heard[-1]
    assert _Ear.heard[-1]["path"].startswith("http://store.invalid/")


def test_a_claim_s_path(tmp_path: Path) -> None:
    (tmp_path / "claim" / "m").mkdir(parents=True)
    (tmp_path / "claim" / "out").symlink_to(tmp_path)
    assert claim_path("pvc://claim/m", tmp_path) == tmp_path / "claim" / "m"
    assert claim_path("pvc://claim", tmp_path) == tmp_path / "claim"
    for uri in ("pvc:///m", "pvc://../m", "pvc://Claim/m"):
        with pytest.raises(StorageError) as caught:
            claim_path(uri, tmp_path)
        assert caught.value.reason == "BadUri"
    for uri in ("pvc://claim/../m", "pvc://claim/out", "pvc://claim/out/x"):
        with pytest.raises(StorageError) as caught:
            claim_path(uri, tmp_path)
        assert caught.value.reason == "UnsafePath"
