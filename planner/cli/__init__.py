"""The command ``shardpack``: one file a command group, kubectl's habits.

Charter: reads arguments and files, calls one function below, prints. Results go to stdout, talk to stderr;
exit codes are the table in ``exitcodes``. What is heavy (the solver, YAML, pydantic, pandas) is imported by
the command that needs it when it runs, so that ``--help`` and ``--version`` answer at once and without the
planner's extras.
"""

from __future__ import annotations

import gc

COLLECT_AFTER = (200_000, 20, 100)
"""Objects, and collections of the younger ones, after which garbage is looked for: far more than by default,
because a large fleet is millions of objects, none of them garbage, and looking costs half the time again."""


def main() -> None:
    """Run ``shardpack`` with the process's arguments and exit with its code."""
    from planner.cli.app import cli

    gc.set_threshold(*COLLECT_AFTER)
    cli()
