"""A file made of another one: a hard link where there can be one, else a copy."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from agent.storage.contents import NO_LINK, hash_file
from agent.storage.limits import Budget, seal

_PIECE_BYTES = 64 << 20
# What copy_file_range says where it cannot, by its manual page and by older kernels.
_NO_RANGE = frozenset((errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM))


def link(kept: Path, target: Path) -> bool:
    """Make a hard link where there can be one and nobody else's hands are on the file."""
    try:
        os.link(kept, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        return False
    status = target.lstat()
    if stat.S_ISREG(status.st_mode) and not status.st_mode & 0o222 and status.st_uid == os.geteuid():
        return True
    target.unlink()
    return False


def copy(kept: Path, target: Path, budget: Budget) -> str:
    """Copy a file, by reference where the filesystem can, and return the hash of what has arrived."""
    source = os.open(kept, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            return ""
        with target.open("xb") as stream:
            for start in range(0, status.st_size, _PIECE_BYTES):
                amount = min(_PIECE_BYTES, status.st_size - start)
                budget.count(amount)
                _pass_on(source, stream.fileno(), amount)
            seal(stream.fileno())
    finally:
        os.close(source)
    return hash_file(target)


def _pass_on(source: int, target: int, amount: int) -> None:
    """Copy so many bytes from where one file is read to where another is written, or all that there are."""
    while amount > 0:
        try:
            passed = os.copy_file_range(source, target, amount)
        except OSError as error:
            if error.errno not in _NO_RANGE:
                raise
            passed = os.sendfile(target, source, None, amount)
        if passed == 0:
            return  # somebody has cut it off; its hash tells
        amount -= passed
