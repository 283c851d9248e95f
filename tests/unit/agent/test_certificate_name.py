"""Which name of a certificate nginx is told."""

from __future__ import annotations

from typing import Any

import pytest

from agent.certificate_name import is_address, name_in

SUBJECT = ((("organizationName", "o"),), (("commonName", "server"),))


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        ({"subject": SUBJECT, "subjectAltName": (("IP Address", "127.0.0.1"), ("DNS", "a.b"))}, "a.b"),
        ({"subject": SUBJECT, "subjectAltName": (("IP Address", "127.0.0.1"),)}, "server"),
        ({"subjectAltName": (("DNS", "*.models.svc"),)}, "any.models.svc"),
        ({"subjectAltName": (("DNS", 'x"; return 200;'), ("DNS", "b"))}, "b"),
        ({"subject": SUBJECT, "subjectAltName": (("DNS", "x y"),)}, None),
        ({"subjectAltName": (("IP Address", "127.0.0.1"),)}, None),
        ({}, None),
    ],
)
def test_the_first_name_that_it_is_good_for(certificate: dict[str, Any], name: str | None) -> None:
    assert name_in(certificate) == name


def test_addresses_are_no_names() -> None:
    assert [is_address(host) for host in ("127.0.0.1", "::1", "localhost", "1.2.3", "")] == [
        *(True, True, False, False, False)
    ]
