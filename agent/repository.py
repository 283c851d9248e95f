"""The model repository on disk and what the agent remembers of it.

Two trees on one filesystem, so that everything moves by rename::

    <model-dir>/<model>/...         what the server lists and loads; nothing else is written here
    <state-dir>/parts/<model>/      a download under way; worthless after a crash
    <state-dir>/staged/<model>/     a complete download or a standby: model/, record.json, config.pbtxt
    <state-dir>/records/<model>/    the same without model/, which has been moved to <model-dir>
    <state-dir>/former/<model>/     like staged: the copy that the one in <model-dir> took the place of; it
                                    comes back if that one is refused
    <state-dir>/trash/<chance>/     being deleted
    <state-dir>/contents/           what was fetched, by its hash (`agent.storage.contents`): the files of
                                    models are links to it, so that the same bytes are not fetched twice

``record.json`` says where a copy came from and with which pin it is loaded; ``config.pbtxt`` is the one
that the model brought, from which the one in the repository is always made anew. Every step is one rename;
``recover`` finishes what a crash cut short. What was downloaded is synced before it is staged; what the
agent writes besides is not: lost in a crash of the machine, it is made anew, by a download at worst.

Neither directory may lie inside the other: the server would list the agent's files as a model, and a file
written in a model's folder makes its next load a full one; and what lies in ``parts`` and ``trash`` is
deleted at every start.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from agent.desired import MODEL_NAME
from agent.errors import SettingsError, StorageError
from agent.former import FormerCopies
from agent.layouts import triton
from agent.layouts.port import Asked, Layout, only_version
from agent.model_folder import arrange, is_arranged, renew
from agent.observed import Copy
from agent.pins import Pin
from agent.records import MODEL, RECORD, Copies, is_complete, read_record, write_record
from agent.storage import Contents, Limits, Reach, SharedCache, check_apart, fetch
from agent.storage.contents import put
from agent.storage.file import claim_path, local_path, overlap
from agent.storage.layout import CONFIG
from agent.storage.uri import public

log = logging.getLogger(__name__)

_PROBE = "probe.json"
_LARGEST_PROBE = 1 << 20


@dataclass(frozen=True, slots=True)
class Repository:
    """The files of one server's models.

    Parameters
    ----------
    model_dir
        The server's model repository.
    state_dir
        The agent's own tree, on the same filesystem; neither lies inside the other.
    limits
        What models may be at most.
    reach
        How their sources are reached.
    shared
        What several agents have fetched; None where they share nothing.
    """

    model_dir: Path
    state_dir: Path
    limits: Limits
    reach: Reach = field(default_factory=Reach)
    shared: SharedCache | None = None
    contents: Contents = field(init=False)

    def __post_init__(self) -> None:
        folder, parts = self.state_dir / "contents", self.state_dir / "parts"
        contents = Contents(folder, self.limits, parts=parts, shared=self.shared)
        object.__setattr__(self, "contents", contents)

    # ------------------------------------------------------------------------------------------------ looking

    def prepare(self) -> None:
        """Make the folders, delete what is of no use, and check that files can be moved between them.

        Raises
        ------
        SettingsError
            One folder lies in the other, they are on different filesystems, or cannot be written.
        """
        check_apart(self.model_dir, self.state_dir)
        model_dir, state_dir = self.model_dir.resolve(), self.state_dir.resolve()
        try:
            for folder in (
                model_dir,
                *(state_dir / part for part in ("parts", "staged", "records", "former", "trash")),
            ):
                folder.mkdir(parents=True, exist_ok=True)
            # First of all, or a full disk would keep the agent from making room.
            _empty(state_dir / "parts")
            _empty(state_dir / "trash")
            self.contents.prepare()
            if self.shared is not None:
                self.shared.prepare()
            probe = self._trash_path()
            probe.mkdir()
            # Two mounts of one volume have equal device numbers and still refuse a rename, so try one.
            probe.rename(model_dir / ".shardpack-probe")
            (model_dir / ".shardpack-probe").rmdir()
        except OSError as error:
            raise SettingsError(
                f"{state_dir} and {model_dir} must be writable and on one mount, so that files move: {error}"
            ) from error

    def recover(self) -> None:
        """Finish or undo what was under way when the agent ended."""
        names = {path.name for part in ("staged", "former") for path in (self.state_dir / part).iterdir()}
        for name in names:
            self._mend(name)
        for record in (self.state_dir / "records").iterdir():
            if not self._live(record.name).is_dir():
                self._discard(record)

    def _mend(self, name: str) -> None:
        self._former.mend(name)
        staged = self._staged(name)
        if is_complete(staged):
            return
        # `install` moved the files and was stopped before it moved the record.
        if (staged / RECORD).is_file() and not self._record(name).exists() and self._live(name).is_dir():
            staged.rename(self._record(name))
        else:
            self._discard(staged)

    def installed(self) -> dict[str, Copy]:
        """Return the copies in the repository; those that the agent did not put there have no URI."""
        with os.scandir(self.model_dir) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        records = os.fspath(self.state_dir / "records")
        return {
            name: read_record(os.path.join(records, name)) or Copy()  # noqa: PTH118 - thousands at a start
            for name in names
            if MODEL_NAME.fullmatch(name)
        }

    def installed_names(self) -> frozenset[str]:
        """Return the folders in the repository: a cheaper look, for what others may have deleted."""
        with os.scandir(self.model_dir) as entries:
            return frozenset(entry.name for entry in entries if MODEL_NAME.fullmatch(entry.name))

    def staged(self) -> dict[str, Copy]:
        """Return the complete downloads that wait for their turn."""
        copies = {path.name: read_record(path) for path in (self.state_dir / "staged").iterdir()}
        return {name: copy for name, copy in copies.items() if copy is not None}

    def former(self) -> dict[str, Copy]:
        """Return the copies that were put aside for newer ones."""
        names = [path.name for path in (self.state_dir / "former").iterdir()]
        copies = {name: self._former.read(name) for name in names}
        return {name: copy for name, copy in copies.items() if copy is not None}

    def copies(self, name: str) -> Copies:
        """Return what there is of a model."""
        return Copies(
            installed=self._known(name) if self._live(name).is_dir() else None,
            staged=read_record(self._staged(name)),
            former=self._former.read(name),
        )

    # ------------------------------------------------------------------------------------------------- acting

    def download(
        self, name: str, uri: str, *, unwanted: Callable[[], bool], seconds: Callable[[], float]
    ) -> Copy:
        """Fetch a model's files and stage them, in place of what was staged before.

        Parameters
        ----------
        name, uri
            The model and where it comes from.
        unwanted
            Asked often; true ends the download.
        seconds
            A clock that only runs forward.

        Raises
        ------
        StorageError
            The files cannot be had.
        """
        self._check_source(uri)
        part = self.state_dir / "parts" / name
        self._discard(part)
        part.mkdir()
        started = seconds()
        try:
            fetched = fetch(
                uri,
                into=part,
                limits=self.limits,
                unwanted=unwanted,
                contents=self.contents,
                reach=self.reach,
                shared=self.shared,
            )
            copy = Copy(
                storage_uri=uri,
                total_bytes=fetched.total_bytes,
                fetched_bytes=fetched.fetched_bytes,
                digest=fetched.digest,
                download_seconds=seconds() - started,
            )
            return self._stage(name, part, fetched.folder, copy)
        finally:
            self._discard(part)

    def _check_source(self, uri: str) -> None:
        """Refuse a source that the agent would delete with the model, or copy into itself."""
        if uri.startswith("file:"):
            source = local_path(uri)
        elif uri.startswith("pvc:"):
            source = claim_path(uri, self.reach.pvc_dir)
        else:
            return
        own = [self.model_dir, self.state_dir, *([] if self.shared is None else [self.shared.folder])]
        if any(overlap(source, folder) for folder in own):
            raise StorageError(
                "BadUri", f"{public(uri)}: lies in the server's model repository or around it, not outside"
            )

    def _stage(self, name: str, part: Path, folder: Path, copy: Copy) -> Copy:
        ready = part / "ready"
        ready.mkdir()
        if (folder / CONFIG).is_file():
            # A link where there can be one: the kept content stays in use when `place` writes another.
            put(folder / CONFIG, ready / CONFIG)
        folder.rename(ready / MODEL)
        (ready / RECORD).write_text(json.dumps(asdict(copy)), encoding="utf-8")
        self._discard(self._staged(name))
        ready.rename(self._staged(name))
        return copy

    def install(
        self, name: str, pin: Pin, framework: str, *, layout: Layout = triton.lay_out, keep: bool = False
    ) -> Copy:
        """Move a staged copy into the repository, in place of any other; the server must not hold it.

        Parameters
        ----------
        name, pin, framework, layout
            The model, and how it is laid out for its server.
        keep
            Whether the copy that is there is put aside: see `restore`.

        Raises
        ------
        PinError
            The model cannot be laid out for its server.
        """
        # Whoever loads it from now on finds this pin.
        copy = replace(
            self._laid_out(name, pin, framework, layout),
            loaded_pin=pin.instance_group or "",
            loaded_devices=pin.devices,
        )
        self._put_in_place(name, copy, keep=keep)
        return copy

    def exchange(self, name: str, pin: Pin, framework: str, *, layout: Layout = triton.lay_out) -> None:
        """Move a staged copy into the repository, and the one aside that the server goes on holding.

        Raises
        ------
        PinError
            The model cannot be laid out for its server.
        """
        before = self._known(name)
        copy = replace(
            self._laid_out(name, pin, framework, layout),
            loaded_pin=None,
            loaded_devices=_either(before.loaded_devices, pin.devices),
        )
        renew(self._staged(name) / MODEL)
        self._put_in_place(name, copy, keep=True)

    def restore(self, name: str, *, serves: bool) -> bool:
        """Put the copy back that was put aside, and stage the other; return whether there was one.

        Parameters
        ----------
        name
            The model.
        serves
            Whether it is certain that the server holds the copy that comes back where it was. If not, its
            next load will be a real one.
        """
        former = self._former.read(name)
        if former is None:
            return False
        if not serves:
            folder = self._former_of(name)
            write_record(folder, replace(former, loaded_pin=None))
            renew(folder / MODEL)
        return self._former.restore(name)

    def discard_former(self, name: str) -> None:
        """Delete the copy that was put aside: the newer one has loaded."""
        self._discard(self._former_of(name))

    def _laid_out(self, name: str, pin: Pin, framework: str, layout: Layout) -> Copy:
        """Make a staged copy what its server needs, and return its record."""
        staged = self._staged(name)
        copy = read_record(staged)
        if copy is None:
            raise FileNotFoundError(f"no staged copy of {name}")
        folder = staged / MODEL
        wanted = layout(Asked(name=name, pin=pin, framework=framework, folder=folder, record=staged))
        arrange(folder, wanted, temporary=self._trash_path)
        return replace(copy, unenforced=wanted.unenforced)

    def _put_in_place(self, name: str, copy: Copy, *, keep: bool) -> None:
        staged = self._staged(name)
        write_record(staged, copy)
        try:
            if keep:
                self._former.keep(name)
            else:
                for path in (self._live(name), self._record(name), self._former_of(name)):
                    self._discard(path)
            (staged / MODEL).rename(self._live(name))
            staged.rename(self._record(name))
        except OSError:
            self._mend(name)
            raise

    def stow(self, name: str) -> Copy:
        """Move a copy out of the repository and keep it staged; the server must not hold it.

        The steps of `install` backwards: stopped between them, `recover` undoes the first.
        """
        self._discard(self._staged(name))
        self._discard(self._former_of(name))
        self._record(name).rename(self._staged(name))
        self._live(name).rename(self._staged(name) / MODEL)
        copy = read_record(self._staged(name))
        if copy is None:
            raise FileNotFoundError(f"no record of {name}")
        return copy

    def place(self, name: str, pin: Pin, framework: str, *, layout: Layout = triton.lay_out) -> None:
        """Write what the server needs beside the model's files, its pin included, where it is not there.

        Raises
        ------
        PinError
            The model cannot be laid out for its server.
        """
        folder, record = self._live(name), self._record(name)
        wanted = layout(Asked(name=name, pin=pin, framework=framework, folder=folder, record=record))
        known = self._known(name)
        if is_arranged(folder, wanted):
            if known.unenforced != wanted.unenforced:
                self._write_record(name, replace(known, unenforced=wanted.unenforced))
            return
        # The pin that was loaded is forgotten first: stopped after the next line, the agent loads again.
        devices = _either(known.loaded_devices, pin.devices)
        self._write_record(
            name, replace(known, loaded_pin=None, loaded_devices=devices, unenforced=wanted.unenforced)
        )
        arrange(folder, wanted, temporary=self._trash_path)

    def remember_loaded(self, name: str, pin: Pin, *, measured_bytes: int | None = None) -> Copy:
        """Note that the copy in the repository is loaded with this pin, and what that was seen to take."""
        known = self._known(name)
        copy = replace(
            known,
            loaded_pin=pin.instance_group or "",
            loaded_devices=pin.devices,
            measured_bytes=known.measured_bytes if measured_bytes is None else measured_bytes,
        )
        if copy != known:
            self._write_record(name, copy)
        return copy

    def test_request(self, name: str) -> bytes | None:
        """Return the body of the test inference that a model brought as ``probe.json``, if it brought one."""
        folder = self._live(name)
        try:
            version = only_version(folder)
        except FileNotFoundError:
            return None  # it has left since it was looked at
        places = [folder] if version is None else [folder, folder / version]
        for path in (place / _PROBE for place in places):
            if path.is_file() and path.stat().st_size <= _LARGEST_PROBE:
                return path.read_bytes()
        return None

    def remove(self, name: str) -> None:
        """Delete every copy of a model; the server must not hold it."""
        self._discard(self._live(name))
        self._discard(self._record(name))
        self._discard(self._staged(name))
        self._discard(self._former_of(name))

    def discard_staged(self, name: str) -> None:
        """Delete a download that is not wanted any more."""
        self._discard(self._staged(name))

    # -------------------------------------------------------------------------------------------- small steps

    def _live(self, name: str) -> Path:
        return self.model_dir / name

    def _staged(self, name: str) -> Path:
        return self.state_dir / "staged" / name

    def _record(self, name: str) -> Path:
        return self.state_dir / "records" / name

    def _former_of(self, name: str) -> Path:
        return self.state_dir / "former" / name

    @property
    def _former(self) -> FormerCopies:
        return FormerCopies(
            live=self._live,
            staged=self._staged,
            record=self._record,
            former=self._former_of,
            discard=self._discard,
        )

    def _known(self, name: str) -> Copy:
        return read_record(self._record(name)) or Copy()

    def _write_record(self, name: str, copy: Copy) -> None:
        self._record(name).mkdir(exist_ok=True)
        write_record(self._record(name), copy)

    def _trash_path(self) -> Path:
        return self.state_dir / "trash" / secrets.token_hex(8)

    def _discard(self, path: Path) -> None:
        """Delete a tree so that it is gone for everybody at once."""
        trash = self._trash_path()
        try:
            path.rename(trash)
        except FileNotFoundError:
            return
        _try_to_delete(trash)


def _either(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Return all devices of two pins: the model may be on those of either."""
    return (*one, *(device for device in other if device not in one))


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        _try_to_delete(entry)


def _try_to_delete(path: Path) -> None:
    """Delete what nobody uses any more; what cannot be deleted is tried again at the next start."""
    try:
        _delete(path)
    except (OSError, RecursionError) as error:
        log.warning("a deleted tree's files stay for now", extra={"path": str(path), "error": str(error)})


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
