"""``completion``: the script that teaches a shell the command's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from planner.cli.exitcodes import Outcome

_EPILOG = """\b
Examples:
  source <(shardpack completion bash)
  shardpack completion zsh > "${fpath[1]}/_shardpack"
  shardpack completion fish > ~/.config/fish/completions/shardpack.fish
"""


@click.command(epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> Outcome:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells of the choice"
    click.echo(kind(context.find_root().command, {}, "shardpack", "_SHARDPACK_COMPLETE").source())
    return Outcome.DONE
