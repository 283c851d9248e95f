"""The name by which nginx can judge a server that is called by its address.

nginx compares the names of a certificate alone, and no addresses. The agent compares both: a certificate that
it finds good for an address has a name, by which nginx finds the same certificate good.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CALL_S = 5.0
_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def is_address(host: str) -> bool:
    """Return whether a host is an IP address. PURE."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def certificate_name(host: str, port: int, ca: Path) -> str | None:
    """Return a name of the certificate of a server that the authorities vouch for; None if it has none.

    Raises
    ------
    OSError
        The server does not answer, or they do not vouch for it.
    """
    context = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection((host, port), timeout=_CALL_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return name_in(secure.getpeercert() or {})


def name_in(certificate: Mapping[str, Any]) -> str | None:
    """Return a name that a certificate is good for, as ``ssl.SSLSocket.getpeercert`` tells it. PURE."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    if not names:  # only then does the common name count
        subject = certificate.get("subject", ())
        names = [value for part in subject for kind, value in part if kind == "commonName"]
    return next((name.replace("*", "any") for name in names if _NAME.fullmatch(name)), None)
