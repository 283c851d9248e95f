"""Why a store cannot be opened, said without telling a credential: its library's own words may hold one."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path

from agent.errors import StorageError

_KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_GOOGLE_TYPES = ("service_account", "authorized_user")
"""Of the key files that the stores' library reads."""


def fault(kind: str, where: str, config: Mapping[str, object]) -> StorageError | None:
    """Return what is wrong with a store's credentials; None where nothing is found.

    Parameters
    ----------
    kind
        ``s3``, ``gs`` or ``az``.
    where
        The place, as it is told.
    config
        The store's settings.
    """
    path = config.get("application_credentials")
    if kind == "gs" and path:
        return _key_file_fault(where, Path(str(path)))
    if kind == "az":
        said = _azure_fault(config)
        return StorageError("BadCredentials", f"{where}: {said}") if said else None
    return None


def _key_file_fault(where: str, path: Path) -> StorageError:
    said = f"{where}: {_KEY_FILE}: {path}"
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:  # it may be mounted a little later
        return StorageError("BadCredentials", f"{said}: {error.strerror}", retry="soon")
    except (ValueError, RecursionError):
        return StorageError("BadCredentials", f"{said} is not JSON")
    kind = content.get("type") if isinstance(content, dict) else None
    if kind in _GOOGLE_TYPES:
        return StorageError("BadCredentials", f"{said}: the {kind} in it is incomplete, or its key is none")
    found = f"is of type {kind}" if kind == "external_account" else "has another type or none"
    return StorageError(
        "BadCredentials",
        f"{said} {found}; {' and '.join(_GOOGLE_TYPES)} can be read, and without the variable the machine's"
        " or the pod's own identity counts",
    )


def _azure_fault(config: Mapping[str, object]) -> str | None:
    if "account_name" not in config:
        return "AZURE_STORAGE_ACCOUNT_NAME: neither it nor the URI names an account"
    try:
        base64.b64decode(str(config.get("account_key", "")), validate=True)
    except (binascii.Error, ValueError):
        return "AZURE_STORAGE_ACCESS_KEY or AZURE_STORAGE_ACCOUNT_KEY: not base64"
    return None
