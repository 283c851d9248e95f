"""Routes as nginx reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.observed import NOTHING, Seen
from agent.proxy import ProxySettings, config_text, routes, routes_text
from agent.status import Snapshot
from tests.support.agent_models import copy, desired, row, target

M = target()


def snapshot(seen: Seen, *, live: bool = True, **wanted: str) -> Snapshot:
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


def test_without_the_server_all_that_is_wanted_waits() -> None:
    assert routes(snapshot(Seen(row=row("READY")), live=False)) == {"m": "waits"}


def test_a_standby_is_not_here() -> None:
    assert routes(snapshot(Seen(staged=copy()), state="standby")) == {"old": "serves"}


def test_what_is_not_named_is_absent_once_there_is_a_document() -> None:
    looked = snapshot(Seen(row=row("READY")))
    assert routes_text(looked).splitlines() == ["default absent;", '"m" serves;', '"old" serves;']
    before = replace(looked, desired=None, targets={}, models={})
    assert routes_text(before).splitlines() == ["default waits;"]


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
