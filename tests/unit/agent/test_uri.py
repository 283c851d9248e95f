from __future__ import annotations

import pytest

from agent.storage.uri import public


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("https://user:secret@host:8443/a/m.zip?X-Amz-Signature=secret#secret", "https://host:8443/a/m.zip"),
        ("http://[::1]:80/m", "http://[::1]:80/m"),
        ("s3://bucket/key?versionId=1", "s3://bucket/key"),
        ("file:///models/m", "file:///models/m"),
        ("models/m", "models/m"),
        ("http://user:se/cret@host/m", "a URI that cannot be read"),
        ("http://[secret/m", "a URI that cannot be read"),
        ("u:secret@host/m", "u:..."),
        ("http:u:secret@host", "http:..."),
        ("http:///secret@host/m", "http:..."),
        ("http://user:8/secret@host/m", "http:..."),
        ("file:u:secret@host", "file:..."),
        ("ftp://token/secret@host", "ftp:..."),
        ("s3://key:8/secret@bucket/m", "s3:..."),
        ("//host/secret@host", "a URI that cannot be read"),
        ("s3://bucket/m@v1", "s3://bucket/m@v1"),
        ("file:///models/m@v1", "file:///models/m@v1"),
    ],
)
def test_what_may_be_a_secret_is_not_told(uri: str, told: str) -> None:
    assert public(uri) == told
