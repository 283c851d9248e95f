"""Options and arguments that several commands share."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Talk:
    """How much is said on stderr; filled by the options as click reads them."""

    quiet: bool = False
    debug: bool = False


class Quantity(click.ParamType[int]):
    """Bytes, written as Kubernetes writes them."""

    name = "quantity"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        from planner.units import parse_bytes

        try:
            return parse_bytes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Seconds(click.FloatRange):
    """A time, which has an end: neither nan, which is in every range, nor inf."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return found


def _set_quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    del parameter
    talk = context.ensure_object(Talk)
    talk.quiet |= value
    set_log_level(talk)


def _set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    del parameter
    talk = context.ensure_object(Talk)
    talk.debug |= value
    set_log_level(talk)


def set_log_level(talk: Talk) -> None:
    """Let our own loggers say as much as was asked for, wherever on the command line it was."""
    level = logging.DEBUG if talk.debug else logging.ERROR if talk.quiet else logging.WARNING
    logging.getLogger("planner").setLevel(level)


def talk_options(command: Command) -> Command:
    """Add ``-q`` and ``--debug``; the command sees them as the context's ``Talk``."""
    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_quiet,
        help="Say nothing on stderr but errors.",
    )
    debug = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Show what happens inside, and the traceback of an error.",
    )
    return quiet(debug(command))


FORMATS = ("table", "wide", "json", "yaml", "name")
"""What ``-o`` offers, whatever the command."""


def output_option(
    *, wide: str, name: str, default: str | None = "table", otherwise: str = ""
) -> Callable[[Command], Command]:
    """Add ``-o``, which offers the same formats everywhere.

    Parameters
    ----------
    wide
        What ``wide`` adds to the table.
    name
        What ``name`` prints, one ``kind/name`` a line.
    default
        The format without ``-o``; None lets the command decide, as ``otherwise`` says.
    """
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(FORMATS),
        default=default,
        show_default=otherwise or True,
        help=f"Format of the result on stdout: wide adds {wide}; name prints, one a line, {name}.",
    )


def scenario_option(command: Command) -> Command:
    """Add ``-f FILE``, another way of naming the scenario."""
    return click.option(
        "-f",
        "--filename",
        metavar="FILE",
        help='The scenario (YAML or JSON); "-" is stdin. The same as the argument FILE.',
    )(command)


def split_paths(paths: Sequence[str], filename: str | None, *, wanted: Sequence[str]) -> list[str]:
    """Return the files of a command whose first is the scenario, given as an argument or with ``-f``.

    Parameters
    ----------
    paths
        The positional arguments.
    filename
        What ``-f`` said.
    wanted
        Names of the files in order, as ``("FILE", "PLAN")``.

    Raises
    ------
    click.UsageError
        Too few or too many.
    """
    given = ([filename] if filename is not None else []) + list(paths)
    if len(given) < len(wanted):
        raise click.UsageError(f"missing {wanted[len(given)]}")
    if len(given) > len(wanted):
        raise click.UsageError(f"unexpected argument {given[len(wanted)]!r}")
    return given


def cluster_options(command: Command) -> Command:
    """Add ``--kubeconfig`` and ``--context``: which cluster, and as whom."""
    kubeconfig = click.option(
        "--kubeconfig",
        metavar="FILE",
        help="The kubeconfig; by default $KUBECONFIG, ~/.kube/config or, in a pod, its service account.",
    )
    context = click.option(
        "--context", metavar="NAME", help="The context of the kubeconfig; by default its current one."
    )
    return kubeconfig(context(command))


def controller_options(command: Command) -> Command:
    """Add ``--mode`` and ``--gateway``: how the controller runs whose decisions a command foresees."""
    mode = click.option(
        "--mode",
        type=click.Choice(["kserve", "standalone"]),
        default="kserve",
        show_default=True,
        help="As the controller of the cluster runs.",
    )
    gateway = click.option(
        "--gateway",
        type=click.Choice(["none", "nginx"]),
        default="none",
        show_default=True,
        help="As the controller of the cluster runs: with none no model passes through a transformer.",
    )
    return mode(gateway(command))
