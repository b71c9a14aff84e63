"""``authserver completion``."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash:

    \b
        mkdir -p ~/.local/share/bash-completion/completions
        authserver completion bash \\
            > ~/.local/share/bash-completion/completions/authserver

    For zsh, where ~/.zfunc is in fpath before compinit runs:

    \b
        mkdir -p ~/.zfunc
        authserver completion zsh > ~/.zfunc/_authserver

    For fish:

    \b
        mkdir -p ~/.config/fish/completions
        authserver completion fish > ~/.config/fish/completions/authserver.fish

    Names, subjects, patterns and ids are completed where the store can be read.
    """
    completion = get_completion_class(shell)
    if completion is None:
        raise click.ClickException(f"no completion for {shell}")
    root = ctx.find_root().command
    click.echo(completion(root, {}, "authserver", "_AUTHSERVER_COMPLETE").source())
