"""The planner's error tree and its exit codes.

::

    ShardpackError            1  something inside went wrong
    ├── InputError            2  bad usage or bad input; carries every fault found
    ├── RefusedError          3  some models could not be placed (the plan is still written)
    └── VerificationError     4  a plan that does not verify against its scenario
"""

from __future__ import annotations

from dataclasses import dataclass

EXIT_DONE = 0
EXIT_INTERNAL = 1
EXIT_INPUT = 2
EXIT_REFUSED = 3
EXIT_NOT_VERIFIED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with an input.

    Parameters
    ----------
    path
        Where in the document, as ``spec.models[3].replicas``; empty for the document as a whole.
    message
        What is wrong and what would be right, in one sentence.
    file
        The file's name as the user gave it; None when the input is not a file.
    line
        1-based line in ``file``; None when it is not known.
    """

    path: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ShardpackError(Exception):
    """The root of every error that the planner raises on purpose."""

    exit_code = EXIT_INTERNAL


class InputError(ShardpackError):
    """Bad usage or bad input.

    Parameters
    ----------
    faults
        Every fault found, at least one, in document order.
    """

    exit_code = EXIT_INPUT

    def __init__(self, faults: tuple[Fault, ...] | list[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class RefusedError(ShardpackError):
    """Some models could not be placed; the plan that says so was written all the same."""

    exit_code = EXIT_REFUSED


class VerificationError(ShardpackError):
    """A plan breaks a rule of its scenario."""

    exit_code = EXIT_NOT_VERIFIED
