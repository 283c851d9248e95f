"""What the server answers when it does not do what was asked: ``Status`` objects in Kubernetes' words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One fault of an object: ``FieldValueInvalid`` and the like, the field's path, what is wrong."""

    reason: str
    field: str
    message: str


class RefusalError(Exception):
    """An answer other than success."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Object | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s
        if retry_after_s is not None:
            self.details["retryAfterSeconds"] = retry_after_s

    def status(self) -> Object:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({"details": self.details} if self.details else {}),
            "code": self.code,
        }


def qualified(group: str, name: str) -> str:
    """``deployments.apps``; of the core group the name alone."""
    return f"{name}.{group}" if group else name


def _details(group: str, plural: str, name: str = "") -> Object:
    found = {"name": name, "group": group, "kind": plural}
    return {key: value for key, value in found.items() if value}


def not_found(group: str, plural: str, name: str) -> RefusalError:
    return RefusalError(
        404,
        "NotFound",
        f'{qualified(group, plural)} "{name}" not found',
        details=_details(group, plural, name),
    )


def no_such_path() -> RefusalError:
    return RefusalError(404, "NotFound", "the server could not find the requested resource")


def already_exists(group: str, plural: str, name: str) -> RefusalError:
    return RefusalError(
        409,
        "AlreadyExists",
        f'{qualified(group, plural)} "{name}" already exists',
        details=_details(group, plural, name),
    )


def conflict(group: str, plural: str, name: str, why: str) -> RefusalError:
    return RefusalError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}',
        details=_details(group, plural, name),
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def invalid(group: str, kind: str, name: str, causes: Iterable[Cause]) -> RefusalError:
    found = list(causes)
    lines = [f"{cause.field}: {cause.message}" for cause in found]
    text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    details = _details(group, kind, name)
    details["causes"] = [
        {"reason": item.reason, "message": item.message, "field": item.field} for item in found
    ]
    return RefusalError(
        422, "Invalid", f'{qualified(group, kind)} "{name}" is invalid: {text}', details=details
    )


def bad_request(message: str) -> RefusalError:
    return RefusalError(400, "BadRequest", message)


def expired(message: str = "The resourceVersion for the provided watch is too old.") -> RefusalError:
    return RefusalError(410, "Expired", message)


def too_large(limit: int) -> RefusalError:
    return RefusalError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")
