"""A certificate authority of its own and a certificate for loopback, made by the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = ("-days", "2")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateCa:
    """Files: the authority's certificate, and key and certificate of a server at 127.0.0.1."""

    ca: Path
    key: Path
    certificate: Path


def has_openssl() -> bool:
    """Return whether certificates can be made here."""
    return shutil.which("openssl") is not None


def make_ca(folder: Path, name: str, *, names: str = "IP:127.0.0.1,DNS:localhost") -> PrivateCa:
    """Make an authority and have it sign a server's certificate, which is good for ``names``."""
    folder.mkdir()
    made = PrivateCa(ca=folder / "ca.crt", key=folder / "server.key", certificate=folder / "server.crt")
    extensions = folder / "extensions"
    extensions.write_text(f"subjectAltName={names}\n")
    _openssl(
        *("req", "-x509", *_NEW_KEY, *_DAYS, "-subj", f"/CN={name}"),
        *("-keyout", str(folder / "ca.key"), "-out", str(made.ca)),
    )
    request = str(folder / "server.csr")
    _openssl("req", *_NEW_KEY, "-subj", "/CN=server", "-keyout", str(made.key), "-out", request)
    _openssl(
        *("x509", "-req", "-in", request, *_DAYS, "-extfile", str(extensions)),
        *("-CA", str(made.ca), "-CAkey", str(folder / "ca.key"), "-CAcreateserial"),
        *("-out", str(made.certificate)),
    )
    return made


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
