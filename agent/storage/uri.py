"""URIs as they may be told: without what may be a secret in them."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

# No user and no password stands in front of what these name, and an @ is a sign like any other.
_NAMED_BY_PATH = frozenset(("file", "pvc", "s3", "gs", "az", "hf"))


def public(uri: str) -> str:
    """Return a URI without user, password, query and fragment: a signed URL is a secret in its query.

    Where it cannot be told what is a password, because the slashes of a host are missing or because an ``@``
    comes only behind them, nothing but the scheme is told.
    """
    try:
        parts = urlsplit(uri)
        _ = parts.port  # judged when it is asked for; a password that holds a slash ends up there
    except ValueError:
        return "a URI that cannot be read"
    if _is_unclear(parts):
        return f"{parts.scheme}:..." if parts.scheme else "a URI that cannot be read"
    host = parts.netloc.rpartition("@")[2]
    if not parts.scheme:
        return f"{host}{parts.path}"
    return f"{parts.scheme}://{host}{parts.path}"


def _is_unclear(parts: SplitResult) -> bool:
    """Return whether a password may stand where a path should."""
    local = parts.scheme == "file" and parts.path.startswith("/")
    if parts.scheme and not parts.netloc and not local:
        return True
    return "@" in parts.path and (":" in parts.netloc or parts.scheme not in _NAMED_BY_PATH)
