"""Routes as files, which change one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.route_files import REST_WAITS, RouteFiles


def there(folder: Path) -> dict[str, set[str]]:
    return {route: {path.name for path in (folder / route).iterdir()} for route in ("serves", "waits")}


def test_each_model_has_one_file_in_the_folder_of_its_route(tmp_path: Path) -> None:
    files = RouteFiles(tmp_path)
    files.put({"a": "serves", "b": "waits", "c": "serves"}, "waits")
    assert there(tmp_path) == {"serves": {"a", "c"}, "waits": {"b"}}
    assert (tmp_path / REST_WAITS).exists()
    files.put({"b": "serves", "c": "waits", "d": "waits"}, "absent")
    assert there(tmp_path) == {"serves": {"b"}, "waits": {"c", "d"}}
    assert not (tmp_path / REST_WAITS).exists()


def test_what_an_earlier_agent_left_is_taken_up(tmp_path: Path) -> None:
    RouteFiles(tmp_path).put({"stays": "serves", "moves": "serves", "goes": "waits"}, "absent")
    inode = (tmp_path / "serves" / "stays").stat().st_ino
    RouteFiles(tmp_path).put({"stays": "serves", "moves": "waits"}, "absent")
    assert there(tmp_path) == {"serves": {"stays"}, "waits": {"moves"}}
    assert (tmp_path / "serves" / "stays").stat().st_ino == inode, "left as it is"


@pytest.mark.parametrize("name", ["..", "../nginx.conf", "a/b", "", "x" * 300, "a\0b"])
def test_names_that_no_document_can_ask_for_are_no_files(tmp_path: Path, name: str) -> None:
    RouteFiles(tmp_path).put({name: "serves", "m": "serves"}, "absent")
    assert there(tmp_path) == {"serves": {"m"}, "waits": set()}
    assert {path.name for path in tmp_path.iterdir()} == {"serves", "waits"}


def test_one_that_cannot_be_written_keeps_no_other_and_is_written_later(tmp_path: Path) -> None:
    files = RouteFiles(tmp_path)
    files.put({"a": "waits", "b": "waits"}, "waits")
    in_the_way = tmp_path / "serves" / "a"
    in_the_way.mkdir()
    with pytest.raises(OSError, match="a"):
        files.put({"a": "serves", "b": "serves"}, "absent")
    assert (tmp_path / "serves" / "b").is_file()
    assert (tmp_path / REST_WAITS).exists(), "nothing is said to be absent until all is written"
    in_the_way.rmdir()
    files.put({"a": "serves", "b": "serves"}, "absent")
    assert there(tmp_path) == {"serves": {"a", "b"}, "waits": set()}


def test_a_file_that_somebody_has_deleted_comes_back(tmp_path: Path) -> None:
    files = RouteFiles(tmp_path)
    files.put({"a": "waits"}, "absent")
    (tmp_path / "waits" / "a").unlink()
    with pytest.raises(FileNotFoundError):
        files.put({"a": "serves"}, "absent")
    files.put({"a": "serves"}, "absent")
    assert there(tmp_path) == {"serves": {"a"}, "waits": set()}
