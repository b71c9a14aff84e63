"""``authserver health``."""

import json
import urllib.error
import urllib.request

import click

from authserver.cli.context import Context, pass_context
from authserver.core.errors import Refused

TIMEOUT = 5


@click.command("health")
@click.option("--url", help="Base URL of the server; otherwise what this machine serves.")
@pass_context
def command(context: Context, url: str | None) -> None:
    """Ask a running server whether it can issue tokens.

    Exit status 1 if not. This is what the container's HEALTHCHECK runs.
    """
    chosen = context.settings
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(chosen.host, chosen.host)  # noqa: S104
    base = url or f"http://{host}:{chosen.port}"
    try:
        with urllib.request.urlopen(f"{base}/readyz", timeout=TIMEOUT) as response:  # noqa: S310
            body = response.read()
    except urllib.error.HTTPError as error:
        body = error.read()
        click.echo(body.decode(errors="replace"))
        raise Refused(f"the server at {base} is not ready") from None
    except (OSError, ValueError) as error:
        raise Refused(f"the server at {base} does not answer: {error}") from None
    click.echo(json.loads(body)["status"])
