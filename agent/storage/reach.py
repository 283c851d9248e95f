"""How sources are reached: how many streams, which folders, whose credentials."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What every download goes by.

    Parameters
    ----------
    streams
        Objects, or parts of a large one, that one download fetches at a time.
    pvc_dir
        Where claims are mounted, each under its name, for ``pvc://``.
    file_dirs
        The only folders that ``file://`` may read; none allows all but the system's.
    storage_config
        A folder with the keys of KServe's Secret ``storage-config``; None where there is none.
    compare_md5
        Whether MD5s that a source tells are compared; sizes and SHA-256s always are.
    environment
        Credentials and endpoints, by the names that KServe gives them; not shown.
    """

    streams: int = 4
    pvc_dir: Path = Path("/mnt/pvc")
    file_dirs: tuple[Path, ...] = ()
    storage_config: Path | None = None
    compare_md5: bool = True
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)


# https://kserve.github.io/website/docs/model-serving/storage/overview: the fields of an entry, and the
# variable that says the same.
_S3_FIELDS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region": "AWS_DEFAULT_REGION",
    "default_region": "AWS_DEFAULT_REGION",
    "verify_ssl": "S3_VERIFY_SSL",
    "anonymous": "awsAnonymousCredential",
    "certificate": "AWS_CA_BUNDLE_TEXT",
}


def s3_environment(reach: Reach, bucket: str) -> Mapping[str, str]:
    """Return the variables for a bucket: those of its entry in ``storage-config``, or the environment's.

    An entry fits whose ``bucket`` it is; without one ``default_s3``, then ``default`` is taken. The
    environment does not get through an entry: what it leaves out is said here, and one without a key is asked
    without a signature where it names an endpoint, or where the environment has a key that would be sent in
    its place. Else it is Amazon's, and the role of the service account or of the machine counts.
    """
    entries = _entries(reach.storage_config)
    chosen = [entry for entry in entries.values() if entry.get("bucket") == bucket]
    chosen += [entries[name] for name in ("default_s3", "default") if name in entries]
    if not chosen:
        return reach.environment
    said = {
        variable: str(chosen[0][name])
        for name, variable in _S3_FIELDS.items()
        if chosen[0].get(name) is not None
    }
    # Of the environment only what no credential is: one store's secret is not sent to another.
    kept = {name: value for name, value in reach.environment.items() if name == "AWS_CA_BUNDLE"}
    return kept | _completed(said, unsigned="AWS_ACCESS_KEY_ID" in reach.environment)


def _completed(said: dict[str, str], *, unsigned: bool) -> dict[str, str]:
    """Return an entry's variables with those that the store's client would look up in the environment."""
    has_keys = bool(said.get("AWS_ACCESS_KEY_ID") and said.get("AWS_SECRET_ACCESS_KEY"))
    full = {"S3_USE_VIRTUAL_BUCKET": "false", **said}
    if has_keys:
        full.setdefault("awsAnonymousCredential", "false")
    elif unsigned or said.get("AWS_ENDPOINT_URL"):
        full["awsAnonymousCredential"] = "true"
    region = full.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    full.setdefault("AWS_ENDPOINT_URL", f"https://s3.{region}.amazonaws.com")
    return full


def _entries(folder: Path | None) -> dict[str, dict[str, object]]:
    if folder is None or not folder.is_dir():
        return {}
    found: dict[str, dict[str, object]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and entry.get("type") == "s3":
            found[path.name] = entry
    return found
