"""Where the real Triton server lies on this machine, and what its python backend needs from this Python."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from planner.errors import Fault, InputError
from planner.rehearsal.build import NativeParts

_WHEEL = "nvidia-pytriton"
_UTILITIES = "triton_python_backend_utils.py"
_NUMPY2 = Path(__file__).with_name("numpy2.py")
# Where Debian, Ubuntu and Fedora keep shared libraries; the loader searches these by itself.
_SYSTEM_LIBRARIES = ("/lib/{arch}-linux-gnu", "/usr/lib/{arch}-linux-gnu", "/usr/lib64", "/usr/lib")


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonFiles:
    """The installed server.

    Parameters
    ----------
    server
        The executable ``tritonserver``.
    python_backend
        Folder of the python backend.
    python_stub
        The program that each python model runs in, built for this version of Python.
    libpython
        The shared library of this Python that the stub is linked with; None where the wheel brings its own.
    version
        Of the wheel.
    """

    server: Path
    python_backend: Path
    python_stub: Path
    libpython: Path | None
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonHome:
    """What all servers of one rehearsal share.

    Parameters
    ----------
    files
        The installed server.
    backends
        Their backend directory.
    work_dir
        Where their logs and links go.
    """

    files: TritonFiles
    backends: Path
    work_dir: Path


def find_triton() -> TritonFiles:
    """Locate the server of the installed nvidia-pytriton wheel.

    Raises
    ------
    InputError
        The wheel is missing, has no stub for this Python, or the stub's libpython is not on this machine.
    """
    try:
        wheel = importlib.metadata.distribution(_WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise _missing(
            f"the real Triton server is not installed: python -m pip install --no-deps {_WHEEL}==0.7.0"
        ) from None
    root = Path(str(wheel.locate_file("pytriton/tritonserver"))).resolve()
    if not (root / "bin/tritonserver").is_file():
        raise _missing(f"{_WHEEL} {wheel.version} holds no server for this platform ({platform.machine()})")
    return TritonFiles(
        server=root / "bin/tritonserver",
        python_backend=root / "backends/python",
        python_stub=_find_stub(root / "python_backend_stubs"),
        libpython=_find_libpython(),
        version=wheel.version,
    )


def prepare_triton(
    work_dir: Path, *, native: NativeParts | None = None, simulated: Iterable[str] = ("sim",)
) -> TritonHome:
    """Find the installed server and make its backend directory in ``work_dir``.

    Parameters
    ----------
    work_dir
        For backends, links and logs; made if it is absent.
    native
        The compiled parts; without them there is only the python backend.
    simulated
        Backend names that the sim backend answers to.

    Raises
    ------
    InputError
        As ``find_triton``.
    """
    files, work_dir = find_triton(), work_dir.resolve()
    backends = make_backends(work_dir / "backends", files=files, native=native, simulated=simulated)
    return TritonHome(files=files, backends=backends, work_dir=work_dir)


def make_backends(
    directory: Path, *, files: TritonFiles, native: NativeParts | None, simulated: Iterable[str] = ("sim",)
) -> Path:
    """Fill a backend directory: the python backend, and the sim backend under each name in ``simulated``.

    Parameters
    ----------
    directory
        Made if it is absent; returned.
    files, native
        The server, and the compiled parts; without those there is only the python backend.
    simulated
        Backend names that the sim backend answers to; each pays its own base.
    """
    _fill_python_backend(directory / "python", files)
    if native is not None:
        _copy_backend(native.backend, directory, names=simulated)
    return directory


def _fill_python_backend(directory: Path, files: TritonFiles) -> None:
    """Link what the wheel has, and have its utilities adapt themselves to numpy 2."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in (files.python_backend / "libtriton_python.so", files.python_stub, _NUMPY2):
        _link(directory / path.name, path)
    utilities = (files.python_backend / _UTILITIES).read_bytes()
    adapter = f"\n\nimport {_NUMPY2.stem}\n\n{_NUMPY2.stem}.adapt(__name__)\n"
    _replace(directory / _UTILITIES, utilities + adapter.encode())


def _copy_backend(library: Path, directory: Path, *, names: Iterable[str]) -> None:
    """Copy, not link: the loader takes two links to one file for the same library."""
    for name in names:
        (directory / name).mkdir(exist_ok=True)
        _replace(directory / name / f"libtriton_{name}.so", library.read_bytes())


def _replace(path: Path, content: bytes) -> None:
    """Write a file by rename: servers that run have the old one mapped, which must not change under them."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    new.replace(path)


def runtime_paths(files: TritonFiles, work_dir: Path) -> dict[str, str]:
    """Return what must come first on ``PATH`` and ``LD_LIBRARY_PATH`` for python models to run.

    The stub starts isolated and finds its packages through the first ``python3`` on ``PATH``: this Python's,
    so that models see the packages that the caller sees.
    """
    paths = {"PATH": str(_folder_of_python3(work_dir))}
    if files.libpython is not None:
        # A folder with this one link in it, so that nothing else comes in by the way.
        folder = work_dir / "lib"
        folder.mkdir(parents=True, exist_ok=True)
        _link(folder / files.libpython.name, files.libpython)
        paths["LD_LIBRARY_PATH"] = str(folder)
    return paths


def _missing(message: str) -> InputError:
    return InputError([Fault(path="", message=message)])


def _link(link: Path, target: Path) -> None:
    """Make a link, leaving one that is there already alone; servers may start at the same time."""
    with contextlib.suppress(FileExistsError):
        link.symlink_to(target)


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _find_stub(stubs: Path) -> Path:
    stub = stubs / _python_version() / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted((path.name for path in stubs.iterdir()), key=lambda name: int(name[2:])))
        raise _missing(f"Triton's wheel runs python models on Python {known}, not {_python_version()}")
    return stub


def _find_libpython() -> Path | None:
    """Return the shared library that the stub wants; the stub for 3.13 has it in the wheel."""
    if sys.version_info >= (3, 13):
        return None
    name = f"libpython{_python_version()}.so.1.0"
    for folder in _library_folders():
        if (folder / name).is_file():
            return folder / name
    raise _missing(
        f"Triton's python backend needs {name}, which neither this Python ({sys.base_prefix}) nor the system"
        f" has: apt install libpython{_python_version()}, or use a Python that brings it (uv's, conda's,"
        " Docker's, pyenv's with PYTHON_CONFIGURE_OPTS=--enable-shared), or Python 3.13"
    )


def _library_folders() -> Iterator[Path]:
    """Yield this Python's own folder first; the system's 3.x.y may be another, which works as well."""
    for value in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if value:
            yield Path(value)
    for pattern in _SYSTEM_LIBRARIES:
        yield Path(pattern.format(arch=platform.machine()))


def _folder_of_python3(work_dir: Path) -> Path:
    """Return a folder whose ``python3`` is this Python; a virtual environment's own has one."""
    own = Path(sys.prefix) / "bin"
    if (own / "python3").exists() and _is_this_python(own / "python3"):
        return own
    folder = work_dir / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    _link(folder / "python3", Path(sys.executable))
    return folder


def _is_this_python(python3: Path) -> bool:
    return python3.resolve() == Path(sys.executable).resolve()
