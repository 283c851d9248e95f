"""The root of the command line, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from planner import __version__
from planner.cli.admitting import webhook
from planner.cli.applying import apply
from planner.cli.completion import completion
from planner.cli.controlling import controller
from planner.cli.demo import demo
from planner.cli.exitcodes import EXIT_CODES, Outcome, convention_of
from planner.cli.explaining import explain, report
from planner.cli.fitting import fit
from planner.cli.importing import import_objects
from planner.cli.inventory import inventory
from planner.cli.logs import LogLines
from planner.cli.manifests import manifests
from planner.cli.options import talk_options
from planner.cli.placing import place
from planner.cli.planning import diff, plan, verify
from planner.cli.proposing import propose
from planner.cli.rehearsing import rehearse
from planner.cli.relaxing import relax
from planner.cli.scenarios import limits, validate
from planner.errors import EXIT_INPUT, EXIT_NOT_VERIFIED, EXIT_REFUSED, ShardpackError

EXTRAS = {
    "numba": "planner",
    "numpy": "planner",
    "ortools": "planner",
    "pydantic": "planner",
    "pydantic_core": "planner",
    "yaml": "planner",
    "pynvml": "nvml",
    "obstore": "storage",
    "grpc": "grpc",
    "kubernetes": "cluster",
    "matplotlib": "report",
    "pandas": "report",
    "ipykernel": "notebook",
}
"""The extra of the distribution that brings a library, by the name that the library is imported by."""

_EPILOG = """\b
Examples:
  shardpack validate scenario.yaml
  shardpack plan scenario.yaml --out plan.json
  shardpack explain plan.json sports-en -f scenario.yaml
  shardpack manifests scenario.yaml plan.json --out deploy/

\b
Exit codes:
  0  done                          3  some models refused (the plan is written)
  1  an error inside               4  a plan that does not verify
  2  bad usage or bad input      130  stopped by Ctrl-C
"""


class App(click.Group):
    """A click group whose commands return an ``Outcome`` and whose errors have exit codes."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's own signature
        **extra: Any,
    ) -> Any:
        """Run a command line; unless ``standalone_mode`` is off, exit with the outcome's code."""
        arguments = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        outcome = self._outcome(arguments, prog_name or "shardpack", complete_var, **extra)
        sys.exit(EXIT_CODES[convention_of(arguments)][outcome])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and write out what it printed; a reader who has gone away ends it in silence."""
        try:
            outcome = super().invoke(ctx)
            if sys.stdout is not None:  # None where the shell closed it
                sys.stdout.flush()
        except BrokenPipeError:
            _drop_output()
            return Outcome.BROKEN_PIPE
        return outcome

    def _outcome(
        self, arguments: list[str], prog_name: str, complete_var: str | None, **extra: Any
    ) -> Outcome:
        try:
            result = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
            if sys.stdout is not None:  # what --help and --version print is not of a command
                sys.stdout.flush()
        except Exception as error:  # noqa: BLE001 - the last resort, where errors become messages
            return _complain(error, debug="--debug" in arguments)
        return result if isinstance(result, Outcome) else Outcome.DONE


def _drop_output() -> None:
    """Send what is still buffered nowhere when the interpreter closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: Exception, *, debug: bool) -> Outcome:
    """Say what went wrong on stderr, and return what that makes of the command."""
    outcome = Outcome.INPUT
    match error:
        case click.ClickException():
            error.show()
        case click.Abort():
            _say("stopped")
            outcome = Outcome.INTERRUPTED
        case ShardpackError():
            _say(str(error))
            outcome = _OUTCOMES.get(error.exit_code, Outcome.INTERNAL)
        case ModuleNotFoundError() if _library_of(error) in EXTRAS:
            library = _library_of(error)
            _say(f"this command needs {library}: in a clone, pip install '.[{EXTRAS[library]}]'")
        case OSError(errno=errno.ENOSPC):
            _drop_output()
            _say(f"the output cannot be written: {error.strerror}")
            outcome = Outcome.INTERNAL
        case OSError(errno=number) if number in _OF_PATHS:
            _say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        case _:
            _internal(error, debug=debug)
            outcome = Outcome.INTERNAL
    return outcome


_OF_PATHS = {
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
}
"""What is wrong with a path that was given, as against what is wrong with the machine."""

_OUTCOMES = {
    EXIT_INPUT: Outcome.INPUT,
    EXIT_REFUSED: Outcome.REFUSED,
    EXIT_NOT_VERIFIED: Outcome.NOT_VERIFIED,
}


def _library_of(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _internal(error: Exception, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
        return
    text = str(error).partition("\n")[0]
    _say(f"error inside: {type(error).__name__}: {text} (run again with --debug for the traceback)")


def _say(text: str) -> None:
    """Write to stderr, in red where that is wanted."""
    color = False if os.environ.get("NO_COLOR") else None
    click.secho(text, err=True, fg="red", color=color)


@click.group(
    cls=App,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="shardpack", message="%(prog)s %(version)s")
@talk_options
@click.pass_context
def cli(context: click.Context) -> None:
    """Plan which model goes on which shard, prove how good that is, and write it for Kubernetes.

    A scenario (YAML or JSON) says what models need and what there is to put them on; a plan says which
    shards to open and where every replica goes, with its cost in USD an hour and a lower bound of it.
    Results are printed on stdout, everything else on stderr. "-" reads a scenario from stdin.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines())
    logging.basicConfig(handlers=[handler])


for _command in (
    validate,
    plan,
    place,
    verify,
    explain,
    relax,
    limits,
    import_objects,
    inventory,
    manifests,
    controller,
    webhook,
    fit,
    propose,
    apply,
    diff,
    report,
    rehearse,
    demo,
    completion,
):
    cli.add_command(_command)
