"""How the commands log: one line a message on stderr."""

from __future__ import annotations

import logging


class LogLines(logging.Formatter):
    """One line a message: its level, who says it, what, and its fields as ``key=value`` behind it.

    The agent's lines are the same but for the time, which here is the surroundings' to add. The two share no
    code: neither of the packages imports from the other more than the documents between them.
    """

    _known = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Return the line above an exception, if there is one."""
        fields = (f"{key}={value!r}" for key, value in vars(record).items() if key not in self._known)
        return " ".join([super().formatMessage(record), *fields])
