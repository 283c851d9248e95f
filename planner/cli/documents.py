"""Scenarios and plans from files, and results to stdout."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.domain.rules import Rule, Violation
from planner.errors import Fault, InputError, VerificationError
from planner.report.words import violation_sentence

if TYPE_CHECKING:
    from planner.domain.plan import Plan
    from planner.domain.scenario import Scenario

STDIN = "-"
_MOST_VIOLATIONS = 20


def read_scenario(path: str) -> Scenario:
    """Return the scenario of a file; ``-`` is stdin, whose relative paths start in the working folder.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    from planner.scenario.load import load_scenario, parse_scenario

    if path == STDIN:
        return parse_scenario(stdin_text(), file="<stdin>", directory=Path.cwd())
    return load_scenario(Path(path))


def stdin_text() -> str:
    """Return all that is read from stdin.

    Raises
    ------
    InputError
        It is closed, too large or no text.
    """
    from planner.scenario.documents import stream_text

    if sys.stdin is None:
        raise InputError([Fault(path="", file="<stdin>", message="is closed")])
    return stream_text(sys.stdin.buffer, file="<stdin>")


def read_plan(path: str) -> Plan:
    """Return the plan of a file.

    Raises
    ------
    InputError
        It is not a whole plan of a version that is known.
    """
    from planner.scenario.plan_file import load_plan

    return load_plan(_plan_path(path))


def read_plan_document(path: str) -> tuple[Plan, Mapping[str, Any]]:
    """Return the plan of a file and the file's document, whose figures a plan does not keep.

    Raises
    ------
    InputError
        As ``read_plan``.
    """
    from planner.scenario.documents import read_text
    from planner.scenario.plan_file import parse_plan_document, plan_of

    read = parse_plan_document(read_text(_plan_path(path), file=path), file=path)
    return plan_of(read), read.data


def _plan_path(path: str) -> Path:
    if path == STDIN:
        raise InputError([Fault(path="", message="a plan is read from a file; only a scenario may be '-'")])
    return Path(path)


def read_verified(scenario_path: str, plan_path: str) -> tuple[Scenario, Plan]:
    """Return a scenario and a plan that verifies against it: what explanations and manifests start from.

    Raises
    ------
    InputError
        A file is bad.
    VerificationError
        The plan breaks a rule, or is of another scenario.
    """
    from planner.domain.verify import verify

    scenario, plan = read_scenario(scenario_path), read_plan(plan_path)
    broken = verify(scenario, plan)
    if any(is_of_another_scenario(item) for item in broken):
        raise VerificationError(another_scenario_text(scenario_path, plan_path))
    if broken:
        lines = [violation_sentence(item) for item in broken[:_MOST_VIOLATIONS]]
        more = len(broken) - len(lines)
        lines += [f"and {more:,} more"] if more > 0 else []
        raise VerificationError("\n".join([f"{plan_path}: does not verify against {scenario_path}:", *lines]))
    return scenario, plan


def is_of_another_scenario(violation: Violation) -> bool:
    """Return whether a plan and a scenario do not belong together: all other violations follow from it."""
    return violation.rule is Rule.REFERENCE and violation.subject == "scenario"


def another_scenario_text(scenario_path: str, plan_path: str) -> str:
    """Return what is wrong with a plan of another scenario, and what to do."""
    return f"{plan_path}: is not a plan of {scenario_path} as it is now: plan that scenario again"


def check_output(path: Path, *, inputs: Iterable[str]) -> None:
    """Refuse a place for a result before the work, not after it.

    Parameters
    ----------
    path
        The file to write.
    inputs
        The files that were read, none of which may be overwritten.

    Raises
    ------
    InputError
        There is no folder for it, or none that files can be made in, it is a folder or ``-``, or it is one of
        the inputs.
    """
    message: str | None
    if str(path) == STDIN:
        message = "is not a file; -o json prints the plan on stdout"
    elif not path.parent.is_dir():
        message = f"cannot be written: there is no folder {str(path.parent)!r}"
    elif path.is_dir():
        message = "cannot be written: is a folder"
    elif path.resolve() in {Path(item).resolve() for item in inputs if item != STDIN}:
        message = "would overwrite what was read; choose another name"
    else:
        message = _unwritable(path)
    if message is not None:
        raise InputError([Fault(path="", file=str(path), message=message)])


def _unwritable(path: Path) -> str | None:
    """Return why ``write_output`` could not write a file, None if it could: found by making one beside it."""
    try:
        if path.exists() and not path.is_file():  # a device or a pipe, which is opened only once
            return None if os.access(path, os.W_OK) else "cannot be written: Permission denied"
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", suffix=".tmp", dir=path.resolve().parent):
            return None
    except OSError as error:
        return f"cannot be written: {error.strerror or error}"


def write_output(path: Path, text: str | Iterable[str]) -> None:
    """Write a file whole or not at all; its text may come in pieces.

    Raises
    ------
    InputError
        It cannot be written there.
    """
    from planner.scenario.files import write_atomic

    try:
        write_atomic(path, text)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise InputError([Fault(path="", file=str(path), message=message)]) from error


# -------------------------------------------------------------------------------------------------- results


def print_document(value: object, form: str) -> None:
    """Print a document as JSON or YAML on stdout."""
    if form == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    import yaml

    click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100), nl=False)


def print_names(names: Iterable[str]) -> None:
    """Print ``kind/name``, one a line and each once, in the order in which they come."""
    for name in dict.fromkeys(names):
        click.echo(name)


def document(value: Any) -> Any:
    """Return a value of ours as plain data with camelCase keys, as our documents have them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {camel_case(name): document(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): document(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [document(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def camel_case(name: str) -> str:
    """Return ``used_bytes`` as ``usedBytes``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
