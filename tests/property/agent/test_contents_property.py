"""Whatever is kept, let go, evicted, spoiled or begun anew: a model's folder is what its source was."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.storage.contents import Contents
from agent.storage.limits import Limits

NAMES = ("a", "b", "c")
MODELS: dict[str, dict[str, bytes]] = {
    "one": {"config.pbtxt": b"x", "1/weights": b"shared"},
    "two": {"1/weights": b"shared", "1/more": b"of two"},
    "three": {"1/weights": b"of three"},
}

events = st.one_of(
    st.tuples(st.just("fetch"), st.sampled_from(NAMES), st.sampled_from(sorted(MODELS))),
    st.tuples(st.just("fetch"), st.sampled_from(NAMES), st.sampled_from(sorted(MODELS))),
    st.tuples(st.just("remove"), st.sampled_from(NAMES)),
    st.tuples(st.just("evict"), st.integers(1, 40)),
    st.tuples(st.just("spoil"), st.integers(0, 10), st.booleans()),
    st.tuples(st.just("restart")),
)


class World:
    """Models on disk, made as the agent makes them: of what is kept, else of the source."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[str, str] = {}
        self.spoiled: set[int] = set()
        self.restart()

    def restart(self) -> None:
        self.contents = Contents(self.folder / "contents", Limits())
        self.contents.prepare()

    def fetch(self, name: str, model: str) -> None:
        self.remove(name)
        into = self.folder / name
        into.mkdir()
        if self.contents.lay_out(model, into) is None:
            assert list(into.iterdir()) == []
            for path, content in MODELS[model].items():
                (into / path).parent.mkdir(exist_ok=True)
                (into / path).write_bytes(content)
            self.contents.keep(into, sha256={}, fingerprint=model)
        self.models[name] = model

    def remove(self, name: str) -> None:
        if self.models.pop(name, None) is not None:
            shutil.rmtree(self.folder / name)

    def spoil(self, number: int, *, in_place: bool) -> None:
        """Do what a server may do to its model's files."""
        files = sorted(
            path for name in self.models for path in (self.folder / name).rglob("*") if path.is_file()
        )
        if not files:
            return
        path = files[number % len(files)]
        if in_place:
            self.spoiled.add(path.stat().st_ino)
            content, before = b"!" * (path.stat().st_size + number % 2), path.stat().st_mtime_ns
            # The filesystem's clock is coarse; a server writes long after its model was fetched.
            while path.stat().st_mtime_ns == before:
                path.write_bytes(content)
        else:
            path.unlink()
            path.write_bytes(b"replaced")
            self.spoiled.add(path.stat().st_ino)

    def check(self, *, fresh: str | None) -> None:
        for name, model in self.models.items():
            for path, content in MODELS[model].items():
                file = self.folder / name / path
                # What the server itself wrote is the server's; but nothing of it gets into a new model.
                if name != fresh and file.stat().st_ino in self.spoiled:
                    continue
                assert file.read_bytes() == content


@settings(max_examples=150, deadline=None)
@given(st.lists(events, min_size=3, max_size=25))
def test_a_model_is_what_its_source_was(history: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for event in history:
            fresh = None
            match event:
                case ("fetch", str() as name, str() as model):
                    world.fetch(name, model)
                    fresh = name
                case ("remove", str() as name):
                    world.remove(name)
                case ("evict", int() as amount):
                    world.contents.evict(amount)
                case ("spoil", int() as number, bool() as in_place):
                    world.spoil(number, in_place=in_place)
                case ("restart",):
                    world.restart()
            world.check(fresh=fresh)
