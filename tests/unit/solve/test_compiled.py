"""Machine code is made anew when a source that it depends on changes, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import pytest

import planner
from planner.solve.compiled import compiled, sources_digest

SOURCES = {
    "solve/loops.py": "from planner.solve.numbers import MOST\n\n\n@compiled\ndef most():\n    return MOST\n",
    "solve/numbers.py": "from planner.solve.deeper import MOST\n",
    "solve/deeper.py": "MOST = 3\n",
    "online/choosing.py": "from planner.online.arrays import ROW\n\n\n@compiled\ndef f():\n    return ROW\n",
    "online/arrays.py": "ROW = 1\n",
    "solve/text.py": "from planner.solve.loops import most\n",
    "domain/names.py": "NAME = 'a'\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("solve/loops.py", True),
        ("solve/numbers.py", True),
        ("solve/deeper.py", True),
        ("online/choosing.py", True),
        ("online/arrays.py", True),
        ("solve/text.py", False),
        ("domain/names.py", False),
    ],
)
def test_what_compiled_functions_depend_on_counts(package: Path, name: str, changes: bool) -> None:
    before = sources_digest(package)
    with (package / name).open("a", encoding="utf-8") as source:
        source.write("MORE = 1\n")
    assert (sources_digest(package) != before) == changes


def test_where_the_sources_are_does_not_count(package: Path) -> None:
    before = sources_digest(package)
    assert sources_digest(package.rename(package.with_name("elsewhere"))) == before


def test_a_constant_of_online_placement_counts(tmp_path: Path) -> None:
    own, copy = Path(planner.__file__).parent, tmp_path / "planner"
    for path in own.rglob("*.py"):
        (copy / path.relative_to(own)).parent.mkdir(parents=True, exist_ok=True)
        (copy / path.relative_to(own)).write_bytes(path.read_bytes())
    before = sources_digest(copy)
    assert before == sources_digest(own)
    arrays = copy / "online" / "arrays.py"
    arrays.write_text(arrays.read_text(encoding="utf-8").replace("ANYWHERE = ", "ANYWHERE = 1 + ", 1))
    assert sources_digest(copy) != before


def test_where_machine_code_has_no_place_it_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    scope: dict[str, Any] = {}
    exec(compile("def double(x):\n    return 2 * x\n", "/proc/no/such/folder/numbers.py", "exec"), scope)
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(scope["double"])
    assert compiled(scope["double"])(21) == 42
