"""How the agent logs: one line a message on stderr."""

from __future__ import annotations

import logging
import sys


class _Lines(logging.Formatter):
    """One line a message, its fields as ``key=value`` behind it."""

    _known = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        fields = [f"{key}={value!r}" for key, value in vars(record).items() if key not in self._known]
        line = " ".join([self.formatTime(record), record.levelname.lower(), record.getMessage(), *fields])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def start_logging(level: str) -> None:
    """Log to stderr from a level on, secrets of libraries left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells every event, which is a mere hint
    # It tells whole URLs: of every redirect at info, of odd headers at warning; a signed one is a secret.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
