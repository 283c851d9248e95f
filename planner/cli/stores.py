"""Options that say how the agents of a plan reach the stores of its models, and when they are ready."""

from __future__ import annotations

import re

import click

from planner.cli.options import Command, Quantity

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _secret_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    del ctx, param
    if value is not None and not _NAME.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not the name of a Secret")
    return value


def _secret_names(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        _secret_name(ctx, param, value)
    return tuple(dict.fromkeys(values))


def _claim_or_folder(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    del ctx, param
    if value is not None and not (value.startswith("/") or _NAME.fullmatch(value)):
        raise click.BadParameter(f"{value!r} is neither the name of a claim nor an absolute path")
    return value


def _variables(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Return variables by name, sorted; the last value of a name wins."""
    del ctx, param
    found: dict[str, str] = {}
    for value in values:
        name, equals, content = value.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        found[name] = content
    return tuple(sorted(found.items()))


_OPTIONS = (
    click.option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="NAME",
        callback=_secret_names,
        help="A Secret whose keys become variables of the agent, as AWS_ACCESS_KEY_ID. Repeatable.",
    ),
    click.option(
        "--gcs-secret",
        metavar="NAME",
        callback=_secret_name,
        help="The Secret with Google's credentials under gcloud-application-credentials.json.",
    ),
    click.option(
        "--storage-config",
        metavar="NAME",
        callback=_secret_name,
        help="KServe's Secret of stores; KServe calls it storage-config.",
    ),
    click.option(
        "--env",
        "environment",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_variables,
        help="A variable of the agent that is no secret, as AWS_ENDPOINT_URL=https://minio. Repeatable.",
    ),
    click.option(
        "--ready-when",
        type=click.Choice(["attempted", "loaded"]),
        help="When a shard's pod is ready: once every model was attempted, even if some failed, or not "
        "before every one is loaded.  [default: attempted]",
    ),
    click.option(
        "--shared-cache",
        metavar="CLAIM|/PATH",
        callback=_claim_or_folder,
        help="What a node's agents share of what they fetch: a claim, or a folder of each node where user "
        "1000 may write.",
    ),
    click.option(
        "--shared-cache-bytes",
        type=Quantity(),
        metavar="QUANTITY",
        help="What the shared cache may take at most, as 200Gi.  [default: all but what its disk keeps free]",
    ),
)


def store_options(command: Command) -> Command:
    """Add the options by which ``ManifestOptions`` says how agents run and get their models."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
