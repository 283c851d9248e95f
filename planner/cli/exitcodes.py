"""What a command came to, and the number that says so to a script: one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Literal

from planner.errors import EXIT_DONE, EXIT_INPUT, EXIT_INTERNAL, EXIT_NOT_VERIFIED, EXIT_REFUSED


class Outcome(Enum):
    """What a command came to."""

    DONE = "done"
    CHANGED = "there are changes"
    INTERNAL = "an error inside"
    INPUT = "bad usage or bad input"
    REFUSED = "some models refused"
    NOT_VERIFIED = "a plan that does not verify"
    INTERRUPTED = "stopped by Ctrl-C"
    BROKEN_PIPE = "nobody reads the output any more"


Convention = Literal["plain", "detailed", "diff"]

_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
_BROKEN_PIPE = 141
"""128 + SIGPIPE, as shells report it."""

_PLAIN = {
    Outcome.DONE: EXIT_DONE,
    Outcome.CHANGED: EXIT_DONE,
    Outcome.INTERNAL: EXIT_INTERNAL,
    Outcome.INPUT: EXIT_INPUT,
    Outcome.REFUSED: EXIT_REFUSED,
    Outcome.NOT_VERIFIED: EXIT_NOT_VERIFIED,
    Outcome.INTERRUPTED: _INTERRUPTED,
    Outcome.BROKEN_PIPE: _BROKEN_PIPE,
}

EXIT_CODES: Mapping[Convention, Mapping[Outcome, int]] = {
    "plain": _PLAIN,
    # plan --detailed-exitcode, as Terraform's: 0 nothing to do, 2 changes, 1 any error (a refusal is one).
    "detailed": {
        **_PLAIN,
        Outcome.CHANGED: 2,
        Outcome.INPUT: 1,
        Outcome.REFUSED: 1,
        Outcome.NOT_VERIFIED: 1,
    },
    # diff(1) and kubectl diff: 0 the same, 1 different, above 1 an error.
    "diff": {**_PLAIN, Outcome.CHANGED: 1, Outcome.INTERNAL: 3},
}
"""The exit code of every outcome under every convention."""


def convention_of(arguments: Sequence[str]) -> Convention:
    """Return the convention that a command line asks for, even if it has errors."""
    if "--detailed-exitcode" in arguments:
        return "detailed"
    command = next((item for item in arguments if not item.startswith("-")), None)
    differing = command == "diff" or (command == "apply" and "--diff" in arguments)
    return "diff" if differing else "plain"
