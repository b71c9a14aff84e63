"""What the help of commands that set a password says of it."""

import click

from authserver.cli.context import Context
from authserver.core.errors import AuthserverError
from authserver.core.password_rules import wanted
from authserver.runtime.settings import Settings


class SetsPassword(click.Command):
    """A command whose help ends with the configured rules for new passwords."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        try:
            minimum = ctx.ensure_object(Context).settings.password_min_length
        except AuthserverError:
            # Settings that cannot be read do not keep anybody from the help.
            minimum = Settings.model_fields["password_min_length"].default
        formatter.write_paragraph()
        formatter.write_text(
            f"A new password has {wanted(minimum)} (AUTHSERVER_PASSWORD_MIN_LENGTH). The 10,000 "
            "most common passwords are refused, and NAME, also reversed or with digits after it. "
            "Which kinds of characters it has does not matter."
        )
