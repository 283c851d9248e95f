"""Whatever models and shards there are: routes are read as they were written, and hold to the size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.desired import DocumentError
from agent.routes import read_routes, routes_chunks, routes_of

NAMES = st.from_regex(r"[a-zA-Z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
SHARDS = [f"news-{number}" for number in range(5)]
ADDRESSES = {shard: f"{shard}-shard.models.svc:80" for shard in SHARDS}
MODELS = st.dictionaries(NAMES, st.lists(st.sampled_from(SHARDS), max_size=3, unique=True), max_size=40)


@given(models=MODELS, limit=st.integers(800, 5000))
def test_routes_are_read_as_they_were_written(models: dict[str, list[str]], limit: int) -> None:
    routes = routes_of(group="news", shards=ADDRESSES, models=models)
    chunks = routes_chunks(routes, max_bytes=limit)
    assert all(len(text.encode()) <= limit for text in chunks)
    assert read_routes({f"routes-{number}.json": text for number, text in enumerate(chunks)}) == routes


@given(text=st.text())
def test_any_text_is_routes_or_a_fault(text: str) -> None:
    try:
        read_routes({"routes-0.json": text})
    except DocumentError as error:
        assert str(error)  # noqa: PT017 - most texts are faults, and none may end otherwise
