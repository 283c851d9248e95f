"""Finding the installed server: each thing that can be missing is named, with what to do about it."""

from __future__ import annotations

import importlib.metadata
import sys
import sysconfig
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.rehearsal import triton_files
from planner.rehearsal.triton_files import TritonFiles, find_triton, runtime_paths

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBPYTHON = f"libpython{VERSION}.so.1.0"


class Wheel:
    version = "0.7.0"

    def __init__(self, site):
        self.site = site

    def locate_file(self, path):
        return self.site / path


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An installed wheel, complete."""
    root = tmp_path / "site/pytriton/tritonserver"
    for file in (
        "bin/tritonserver",
        "backends/python/libtriton_python.so",
        f"python_backend_stubs/{VERSION}/triton_python_backend_stub",
    ):
        (root / file).parent.mkdir(parents=True)
        (root / file).touch()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / LIBPYTHON).touch()
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Wheel(tmp_path / "site"))
    monkeypatch.setattr(sysconfig, "get_config_var", {"LIBDIR": str(tmp_path / "lib")}.get)
    return root


def test_a_complete_wheel_is_found(site):
    files = find_triton()

    assert files.server == site / "bin/tritonserver"
    assert files.python_stub.parent.name == VERSION
    assert files.version == "0.7.0"


def test_without_the_wheel_the_error_gives_the_command(monkeypatch):
    def distribution(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)

    with pytest.raises(InputError, match=r"pip install --no-deps nvidia-pytriton==0\.7\.0"):
        find_triton()


def test_a_wheel_of_another_platform_is_named(site):
    (site / "bin/tritonserver").unlink()

    with pytest.raises(InputError, match="no server for this platform"):
        find_triton()


def test_a_python_without_a_stub_is_told_which_ones_have_one(site):
    (site / "python_backend_stubs" / VERSION).rename(site / "python_backend_stubs/3.99")

    with pytest.raises(InputError, match=rf"on Python 3\.99, not {VERSION}"):
        find_triton()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the wheel brings libpython for Python 3.13")
def test_libpython_is_this_pythons_own_if_it_has_one(site, tmp_path):
    assert find_triton().libpython == tmp_path / "lib" / LIBPYTHON


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the wheel brings libpython for Python 3.13")
def test_without_libpython_the_error_says_what_to_install(site, tmp_path, monkeypatch):
    (tmp_path / "lib" / LIBPYTHON).unlink()
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(triton_files, "_SYSTEM_LIBRARIES", (str(tmp_path / "lib"),))

    with pytest.raises(InputError, match=f"apt install libpython{VERSION}"):
        find_triton()


def test_a_python_without_a_python3_beside_it_gets_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "odd"))
    files = TritonFiles(
        server=Path("/s"), python_backend=Path("/p"), python_stub=Path("/t"), libpython=None, version="0"
    )

    paths = runtime_paths(files, tmp_path / "run")

    assert paths == {"PATH": str(tmp_path / "run/bin")}
    assert (tmp_path / "run/bin/python3").resolve() == Path(sys.executable).resolve()


def test_only_libpython_is_added_to_the_library_path(tmp_path):
    library = tmp_path / "lib" / LIBPYTHON
    files = TritonFiles(
        server=Path("/s"), python_backend=Path("/p"), python_stub=Path("/t"), libpython=library, version="0"
    )

    paths = runtime_paths(files, tmp_path / "run")

    assert Path(paths["LD_LIBRARY_PATH"]) == tmp_path / "run/lib"
    assert [path.readlink() for path in (tmp_path / "run/lib").iterdir()] == [library]
