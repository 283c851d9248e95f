"""The copies that gave their place in the repository to newer ones, until these have loaded.

A copy changes its place in two renames, its record and its files. Whichever of them was the last before a
crash, what there is afterwards says what to do: `mend`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.observed import Copy
from agent.records import MODEL, RECORD, is_complete, read_record


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerCopies:
    """The former copies of a repository's models.

    Parameters
    ----------
    live, staged, record, former
        Where the files of a model of a name are that its server sees, where a copy that is staged is, the
        record of the first, and a former copy.
    discard
        Deletes a tree so that it is gone for everybody at once.
    """

    live: Callable[[str], Path]
    staged: Callable[[str], Path]
    record: Callable[[str], Path]
    former: Callable[[str], Path]
    discard: Callable[[Path], None]

    def read(self, name: str) -> Copy | None:
        """Return what is known of a model's former copy; None where there is none."""
        folder = self.former(name)
        return read_record(folder) if is_complete(folder) else None

    def keep(self, name: str) -> None:
        """Put the copy in the repository aside.

        Where there is a former one already, that is the one that has served: it stays, and the copy in the
        repository goes.
        """
        if is_complete(self.former(name)):
            self.discard(self.live(name))
            self.discard(self.record(name))
            return
        self.discard(self.former(name))
        self.record(name).rename(self.former(name))
        self.live(name).rename(self.former(name) / MODEL)

    def restore(self, name: str) -> bool:
        """Put the former copy back, and stage the one in its place; return whether there was one."""
        if not is_complete(self.former(name)):
            return False
        self.discard(self.staged(name))
        self.record(name).rename(self.staged(name))
        self.live(name).rename(self.staged(name) / MODEL)
        self._return(name)
        return True

    def mend(self, name: str) -> None:
        """Finish or undo what was cut short."""
        former = self.former(name)
        if is_complete(former):
            if not self.live(name).is_dir():
                self._return(name)
        elif (former / RECORD).is_file() and self.live(name).is_dir() and not self.record(name).exists():
            former.rename(self.record(name))
        else:
            self.discard(former)

    def _return(self, name: str) -> None:
        self.discard(self.record(name))
        (self.former(name) / MODEL).rename(self.live(name))
        self.former(name).rename(self.record(name))
