"""Routes as nginx reads them."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.observed import NOTHING, Seen
from agent.proxy import ProxySettings, basis, config_text, rest, routes
from agent.status import Snapshot
from tests.support.agent_models import copy, desired, row, target

M = target()


def snapshot(seen: Seen, *, live: bool = True, gone: bool = False, **wanted: str) -> Snapshot:
    one = target(**wanted)
    return Snapshot(
        desired=desired(one.model),
        document_fault=None,
        targets={"m": one},
        models={"m": seen, "old": Seen(row=row("READY"))},
        running={},
        since={},
        observed_generation=None,
        ready=True,
        live=live,
        server=None,
        server_since=None,
        gone=gone,
    )


@pytest.mark.parametrize(
    ("seen", "route"),
    [
        (NOTHING, "waits"),
        (Seen(installed=copy(), row=row("LOADING")), "waits"),
        (Seen(installed=copy(), row=row("READY")), "serves"),
        (Seen(installed=copy(), row=row("READY"), unload_asked_at_s=1.0), "waits"),
        (Seen(installed=copy(), row=row("UNAVAILABLE")), "waits"),
    ],
)
def test_what_serves_is_what_the_server_holds(seen: Seen, route: str) -> None:
    assert routes(snapshot(seen)) == {"m": route, "old": "serves"}


def test_a_server_that_is_silent_for_a_moment_is_still_asked() -> None:
    ready = Seen(installed=copy(), row=row("READY"))
    assert routes(snapshot(ready, live=False)) == {"m": "serves", "old": "serves"}


def test_without_the_server_all_that_is_wanted_waits() -> None:
    assert routes(snapshot(Seen(row=row("READY")), live=False, gone=True)) == {"m": "waits"}


def test_a_standby_is_not_here() -> None:
    assert routes(snapshot(Seen(staged=copy()), state="standby")) == {"old": "serves"}


def test_what_is_not_named_is_absent_once_there_is_a_document() -> None:
    looked = snapshot(Seen(row=row("READY")))
    assert rest(looked) == "absent"
    assert rest(replace(looked, desired=None, targets={}, models={})) == "waits"


def test_only_what_routes_follow_from_makes_another_basis() -> None:
    looked = snapshot(Seen(row=row("READY")))
    same = replace(looked, models=dict(looked.models), since={"m": ("Loaded", 1.0)}, ready=False, live=False)
    assert basis(same) == basis(looked)
    for other in (
        replace(looked, gone=True),
        replace(looked, desired=None),
        replace(looked, targets={}),
        replace(looked, models={**looked.models, "m": Seen(row=row("LOADING"))}),
    ):
        assert basis(other) != basis(looked)


@pytest.mark.parametrize(
    ("url", "upstream"),
    [
        ("http://127.0.0.1:8080", "server 127.0.0.1:8080 "),
        ("http://[::1]:8000", "server [::1]:8000 "),
        ("https://triton", "server triton:443 "),
    ],
)
def test_the_server_is_where_its_url_says(url: str, upstream: str) -> None:
    settings = ProxySettings(address="::", port=9081, server_url=url, folder=Path("/x"))
    text = config_text(settings, "token")
    assert upstream in text
    assert "listen [::]:9081;" in text
    assert f"proxy_pass {url.partition(':')[0]}://model_server;" in text


def test_a_server_behind_tls_is_judged_by_the_agent_s_authorities(tmp_path: Path) -> None:
    ca = tmp_path / 'so "called".crt'
    settings = ProxySettings(
        address="127.0.0.1", port=9081, server_url="https://triton:8443", folder=tmp_path, server_ca=ca
    )
    text = config_text(settings, "token")
    for line in (
        "proxy_ssl_verify on;",
        f'proxy_ssl_trusted_certificate "{tmp_path}/so \\"called\\".crt";',
        'proxy_ssl_name "triton";',
        "proxy_ssl_server_name on;",
    ):
        assert line in text
    assert 'proxy_ssl_name "other";' in config_text(settings, "token", server_name="other")
    assert "proxy_ssl" not in config_text(replace(settings, server_url="http://triton:8080"), "token")


def test_without_authorities_a_server_behind_tls_is_not_spoken_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ssl.get_default_verify_paths()
    settings = ProxySettings(address="127.0.0.1", port=9081, server_url="https://triton", folder=tmp_path)
    for cafile in (str(tmp_path / "system.crt"), None):
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths._replace(cafile=cafile))  # noqa: B023 - used at once
        if cafile:
            assert f'proxy_ssl_trusted_certificate "{cafile}";' in config_text(settings, "token")
        else:
            with pytest.raises(SettingsError, match="--server-ca"):
                config_text(settings, "token")
