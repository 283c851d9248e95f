"""Connections to the web, by way of the proxies that the environment names.

``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` count as they do for Python's own library; the
object stores' library reads the same variables.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from agent.connections import Connections
from agent.errors import StorageError

_MOST_KEPT = 64


class _Chosen(urllib3.PoolManager):
    """Connections that leave to others what is reached by those."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **more: Any) -> Any:  # type: ignore[override]  # noqa: FBT001, FBT002 - the base's own
        """Ask, see `urllib3.PoolManager`; comes here again for where a redirect leads."""
        way = way_to(url)
        if way is not self:
            return way.urlopen(method, url, redirect, **more)
        return super().urlopen(method, url, redirect, **more)


class _Direct(_Chosen, Connections):
    """Connections without a proxy."""


class _Proxied(_Chosen, urllib3.ProxyManager):
    """Connections to a proxy, and through it."""

    def __init__(self, url: str, **arguments: Any) -> None:
        super().__init__(url, **arguments)
        self.pool_classes_by_scheme = _direct.pool_classes_by_scheme


_direct = _Direct(maxsize=_MOST_KEPT)


def way_to(url: str) -> _Chosen:
    """Return the connections by which an address is reached.

    Raises
    ------
    StorageError
        The environment names a proxy that is none.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.hostname or "") or proxy_bypass(host):
        return _direct
    try:
        return _through(proxy if "://" in proxy else f"http://{proxy}")
    except (urllib3.exceptions.HTTPError, ValueError, AssertionError):
        # Its address may hold a password.
        raise StorageError(
            "BadProxy", f"{parts.scheme}_proxy or all_proxy: not the address of an http:// or https:// proxy"
        ) from None


@lru_cache(maxsize=_MOST_KEPT)
def _through(proxy: str) -> _Proxied:
    auth = urllib3.util.parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=unquote(auth)) if auth else None
    return _Proxied(proxy, proxy_headers=headers, maxsize=_MOST_KEPT)
