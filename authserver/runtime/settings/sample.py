"""A settings file to begin with."""

import json
from textwrap import wrap

from authserver.runtime.settings.loading import CONFIG_FILE, DEFAULT_CONFIG_FILE, SECRETS
from authserver.runtime.settings.model import PREFIX, Settings


def sample() -> str:
    """Return a settings file with every setting commented out at its default."""
    lines = [
        "# Settings of authserver. Every line shows a default; remove the # to change it.",
        f"# {CONFIG_FILE} names this file; without it {DEFAULT_CONFIG_FILE} is read.",
        "# The environment stands above this file: token_ttl is AUTHSERVER_TOKEN_TTL there.",
    ]
    for name, field in Settings.model_fields.items():
        lines += ["", *(f"# {line}" for line in wrap(field.description or "", 90))]
        if name in SECRETS:
            lines.append(f"# Better kept in a file that {PREFIX}{name.upper()}_FILE names.")
        lines.append(f"#{name} = {_toml(field.default)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    match value:
        case None | ():
            return '""'
        case int():
            return str(value)
    return json.dumps(str(value))
