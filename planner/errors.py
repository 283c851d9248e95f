"""The planner's error tree and its exit codes.

::

    ShardpackError            1  something inside went wrong
    ├── InputError            2  bad usage or bad input; carries every fault found
    ├── RefusedError          3  some models could not be placed (the plan is still written)
    ├── VerificationError     4  a plan that does not verify against its scenario
    └── ClusterError          1  a Kubernetes API server did not do what was asked
        ├── NotFoundError         no such object, or no such kind
        ├── ConflictError         someone else wrote first, or owns a field: read again, decide again
        │   └── AlreadyExistsError    an object of that name is there
        ├── GoneError             too old a resource version or page: list again
        ├── ForbiddenError        who asks is unknown, or may not do this
        ├── InvalidError          what was sent can never be taken as it is; carries the server's causes
        ├── UnavailableError      no answer, or none now: the same again may succeed
        └── NotLeadingError       a write of a controller that does not lead (any more); it was not sent
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


class ClusterError(ShardpackError):
    """A Kubernetes API server did not do what was asked.

    Parameters
    ----------
    message
        For people, as kubectl would say it.
    status
        The HTTP status; None if there was no answer.
    faults
        The causes that the server named, with the paths of the fields.
    retry_after_s
        How long the server asks to be left alone, in seconds; None if it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        faults: tuple[Fault, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        self.status = status
        self.faults = faults
        self.retry_after_s = retry_after_s
        super().__init__(message)


class NotFoundError(ClusterError):
    """There is no such object, or the server knows no such kind."""


class ConflictError(ClusterError):
    """Someone else changed the object first, or another field manager owns what was applied (``faults``)."""


class AlreadyExistsError(ConflictError):
    """An object of that name exists."""


class GoneError(ClusterError):
    """The server has forgotten that resource version or page of a list: list again."""


class ForbiddenError(ClusterError):
    """The server does not know who asks, or does not let them."""


class InvalidError(ClusterError):
    """What was sent can never be taken as it is: a fault in the object, or too large a one."""


class UnavailableError(ClusterError):
    """No answer, or an answer that says "not now": what was asked may have happened all the same."""


class NotLeadingError(ClusterError):
    """A write by a controller whose lease may have passed to another; it was not sent."""
