from pathlib import Path

from planner.rehearsal.mount import mount_files


def shown(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir() if not path.name.startswith("..")}


def test_files_appear_change_and_go_as_a_whole(tmp_path: Path) -> None:
    mount_files(tmp_path, {"a.json": "1", "b.json": "2"})
    assert shown(tmp_path) == {"a.json": "1", "b.json": "2"}
    mount_files(tmp_path, {"b.json": "3", "c.json": "4"})
    assert shown(tmp_path) == {"b.json": "3", "c.json": "4"}
    mount_files(tmp_path, {})
    assert shown(tmp_path) == {}


def test_the_layout_is_a_kubelets(tmp_path: Path) -> None:
    mount_files(tmp_path, {"a.json": "1"})
    assert (tmp_path / "..data").is_symlink()
    assert (tmp_path / "a.json").readlink() == Path("..data/a.json")
    before = (tmp_path / "..data").resolve()
    mount_files(tmp_path, {"a.json": "2"})
    assert (tmp_path / "..data").resolve() != before
    assert not before.exists()
