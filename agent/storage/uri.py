"""URIs as they may be told: without what may be a secret in them."""

from __future__ import annotations

from urllib.parse import urlsplit


def public(uri: str) -> str:
    """Return a URI without user, password, query and fragment: a signed URL is a secret in its query."""
    try:
        parts = urlsplit(uri)
        _ = parts.port  # judged when it is asked for; a password that holds a slash ends up there
    except ValueError:
        return "a URI that cannot be read"
    host = parts.netloc.rpartition("@")[2]
    if not parts.scheme:
        return f"{host}{parts.path}"
    return f"{parts.scheme}://{host}{parts.path}"
