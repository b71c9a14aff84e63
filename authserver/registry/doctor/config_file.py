"""Read the parts of the registry's ``config.yml`` that concern tokens."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from authserver.core.errors import Refused

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ConfigFile:
    """The ``auth`` section, and whether the registry itself serves TLS.

    ``token`` has the options of ``auth.token`` as YAML reads them, None if the section is missing;
    ``other_auth`` names the sections beside it.
    """

    token: dict[str, Any] | None
    other_auth: tuple[str, ...]
    has_tls: bool

    def text(self, option: str) -> str | None:
        """Return a string option of the token section, None if it is missing or not a string."""
        value = (self.token or {}).get(option)
        return value if isinstance(value, str) else None


def read(path: Path) -> ConfigFile:
    """Read a configuration file.

    Raises:
        Refused: the file cannot be read, is not YAML, or is not a registry's configuration.
    """
    try:
        document = yaml.safe_load(contents(path).decode())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise Refused(f"{path} is not YAML{where}") from None
    except (UnicodeDecodeError, RecursionError):
        raise Refused(f"{path} is not YAML") from None
    if not isinstance(document, dict):
        raise Refused(f"{path} is not a registry's configuration")
    auth = _mapping(document, "auth")
    token = auth.get("token")
    return ConfigFile(
        token=token if isinstance(token, dict) else None,
        other_auth=tuple(str(name) for name in auth if name != "token"),
        has_tls=bool(_mapping(_mapping(document, "http"), "tls")),
    )


def _mapping(parent: dict[str, Any], name: str) -> dict[str, Any]:
    section = parent.get(name)
    return section if isinstance(section, dict) else {}


def contents(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        Refused: the file cannot be read, or is larger than MAX_BYTES.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise Refused(f"{path} is larger than {MAX_BYTES} bytes")
    return raw
