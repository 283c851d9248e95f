"""What the two nginx of a gateway are told, and where it takes addresses from."""

from __future__ import annotations

import re
import socket

import pytest

from agent.gateway.addresses import AddressBook, missing
from agent.gateway.configuration import Place, door_text, server_address, switch_text
from agent.gateway.loop import GatewayState
from agent.gateway.metrics import metrics_text, status_document
from agent.routes import Routes, routes_of

PLACE = Place(address="0.0.0.0", port=8080, folder="/run/shardpack")
SHARDS = {"a": "a.models.svc:80", "b": "b.models.svc:80", "gone": "gone.models.svc:80"}
ADDRESSES = {"a": ("10.0.0.1:80",), "b": ("10.0.0.2:80", "10.0.0.3:80"), "gone": ()}


def some_routes(**models: list[str]) -> Routes:
    named = {name.replace("_", "-"): shards for name, shards in models.items()}
    return routes_of(group="news", shards=SHARDS, models=named)


def mapped(routes: Routes) -> dict[str, str]:
    """Return what each key of the switch's map of models stands for."""
    text = switch_text(PLACE, routes, ADDRESSES, tag="t")
    block = re.search(r'default "";\n((?:    "[^\n]*\n)*)  }', text[text.index("$shardpack_upstream {") :])
    assert block is not None
    return dict(re.findall(r'"(.*)" (\S+);', block[1]))


def servers(routes: Routes) -> dict[str, str]:
    return dict(re.findall(r"upstream (\S+) { (.*) }", switch_text(PLACE, routes, ADDRESSES, tag="t")))


def test_models_of_the_same_shards_share_an_upstream() -> None:
    routes = some_routes(one=["a"], two=["a"], moves=["a", "b"])
    found = mapped(routes)
    assert found["one"] == found["two"] != found["moves"]
    assert servers(routes)[found["one"]] == "random two least_conn; server 10.0.0.1:80 max_fails=0;"
    assert [word for word in servers(routes)[found["moves"]].split() if word.startswith("10.")] == [
        "10.0.0.1:80",
        "10.0.0.2:80",
        "10.0.0.3:80",
    ]


def test_a_model_without_a_shard_that_is_there_waits() -> None:
    found = mapped(some_routes(waits=[], lost=["gone"], half=["gone", "a"], one=["a"]))
    assert (found["waits"], found["lost"]) == ("waits", "waits")
    assert found["half"] == found["one"]


def test_names_that_differ_by_case_alone_are_compared_exactly() -> None:
    routes = routes_of(group="news", shards=SHARDS, models={"m.x": ["a"], "M.x": ["b"], "n": ["a"]})
    assert set(mapped(routes)) == {"~^m[.]x$", "~^M[.]x$", "n"}


@pytest.mark.parametrize(("models", "size"), [(0, 2048), (1024, 2048), (1025, 4096), (100_000, 262_144)])
def test_tables_grow_with_the_models(models: int, size: int) -> None:
    routes = routes_of(group="news", shards=SHARDS, models={f"m{n}": ["a"] for n in range(models)})
    assert f"map_hash_max_size {size};" in switch_text(PLACE, routes, ADDRESSES, tag="t")


def test_addresses_of_version_6_stand_in_brackets() -> None:
    text = door_text(Place(address="::", port=1, folder="/f", user="root"), token="t")
    assert "listen [::]:1 " in text
    assert "user root;" in text
    assert server_address("fd00::1", 80) == "[fd00::1]:80"


def test_connections_to_shards_and_to_the_switch_are_never_kept() -> None:
    for text in (door_text(PLACE, token="t"), switch_text(PLACE, some_routes(m=["a"]), ADDRESSES, tag="t")):
        assert "keepalive " not in text
        assert "proxy_set_header Connection" not in text
    assert "keepalive_timeout 0;" in text


# ------------------------------------------------------------------------------------------------ addresses


class Names:
    """A resolver that a test answers for."""

    def __init__(self, **known: tuple[str, ...] | OSError) -> None:
        self.known = known

    def __call__(self, host: str, port: int) -> tuple[str, ...]:
        found = self.known[host.partition(".")[0]]
        if isinstance(found, OSError):
            raise found
        return tuple(f"{address}:{port}" for address in found)


def test_names_are_looked_up_and_addresses_are_not() -> None:
    routes = routes_of(
        group="g", shards={"a": "a.svc:80", "b": "10.0.0.9:81", "c": "[fd00::2]:82"}, models={}
    )
    assert AddressBook(Names(a=("10.0.0.1",))).addresses(routes) == {
        "a": ("10.0.0.1:80",),
        "b": ("10.0.0.9:81",),
        "c": ("[fd00::2]:82",),
    }


def test_a_name_service_that_is_down_takes_no_shard_away() -> None:
    names = Names(a=("10.0.0.1",), b=OSError("nobody answers"))
    routes = routes_of(group="g", shards={"a": "a:80", "b": "b:80"}, models={})
    book = AddressBook(names)
    assert book.addresses(routes) == {"a": ("10.0.0.1:80",), "b": ()}
    names.known = {"a": socket.gaierror(socket.EAI_AGAIN, "later"), "b": ("10.0.0.2",)}
    assert book.addresses(routes) == {"a": ("10.0.0.1:80",), "b": ("10.0.0.2:80",)}
    names.known = {"a": (), "b": ("10.0.0.2",)}
    assert missing(book.addresses(routes).items()) == ("a",)


# ------------------------------------------------------------------------------------------------- its words


def test_the_status_says_what_a_move_waits_for() -> None:
    state = GatewayState(group="news", generation="new", observed_generation="old", draining=2)
    document = status_document(state)
    assert (document["generation"], document["observedGeneration"], document["draining"]) == ("new", "old", 2)
    text = metrics_text(lambda: state)().decode()
    assert "shardpack_gateway_up_to_date 0.0" in text
    assert "shardpack_gateway_draining_workers 2.0" in text


# ------------------------------------------------------------------------------------------ transformers

DIRECT = Place(address="0.0.0.0", port=8080, folder="/run/shardpack", direct_port=8081)


def routes_through(services: tuple[str, ...] = ("10.0.0.9:80",)) -> str:
    routes = routes_of(
        group="news",
        shards=SHARDS,
        models={"m": ["a"], "M": ["b"], "n": ["a"]},
        services={"scale": "scale.models.svc:80"},
        through={"m": "scale"},
    )
    return switch_text(DIRECT, routes, {**ADDRESSES, "scale": services}, tag="t")


def test_a_model_goes_to_its_transformer_and_others_to_their_shards() -> None:
    text = routes_through()
    block = text[text.index("$shardpack_service {") :]
    assert block.splitlines()[1:4] == [
        "    default $shardpack_upstream;",
        '    "~^m$" through-scale;',
        "  }",
    ]
    assert "upstream through-scale { random two least_conn; server 10.0.0.9:80 max_fails=0; }" in text


def test_the_second_server_of_the_switch_goes_to_shards_alone() -> None:
    first, second = routes_through().split("  server {\n")[1:]
    assert "listen unix:/run/shardpack/switch.sock" in first
    assert "proxy_pass http://$shardpack_service;" in first
    assert "listen unix:/run/shardpack/direct.sock" in second
    assert "proxy_pass http://$shardpack_upstream;" in second
    assert "$shardpack_service" not in second


def test_a_transformer_that_is_not_there_is_waited_for() -> None:
    text = routes_through(services=())
    assert '    "~^m$" waits;' in text
    assert "upstream through-" not in text


def test_without_transformers_both_configurations_are_what_they_were() -> None:
    door, switch = door_text(PLACE, token="x"), switch_text(PLACE, some_routes(m=["a"]), ADDRESSES, tag="t")
    assert "direct" not in door + switch
    assert "$shardpack_service" not in switch
    assert door.count("listen ") == switch.count("listen ") == 1


def test_the_door_has_a_port_for_transformers_where_it_is_asked_for() -> None:
    ports = re.findall(
        r"listen 0.0.0.0:(\d+) .*\n(?:.*\n)*?.*proxy_pass http://unix:\S+/(\w+).sock",
        door_text(DIRECT, token="x"),
    )
    assert ports == [("8080", "switch"), ("8081", "direct")]


def test_addresses_of_services_are_looked_up_too() -> None:
    routes = routes_of(
        group="news",
        shards={"a": "10.0.0.1:80"},
        models={"m": ["a"]},
        services={"scale": "scale.models.svc:80"},
        through={"m": "scale"},
    )
    book = AddressBook(lambda host, port: (f"{len(host)}.0.0.1:{port}",))
    assert book.addresses(routes) == {"a": ("10.0.0.1:80",), "scale": ("16.0.0.1:80",)}
