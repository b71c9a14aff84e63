"""Read what concerns tokens in the registry's ``config.yml``, and in its environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from authserver.core.errors import Refused
from authserver.registry.doctor import environment, registry_yaml
from authserver.registry.doctor.files import contents


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


def read(path: Path | None, environ: dict[str, str] | None = None) -> ConfigFile:
    """Read a configuration file, and what the environment makes of it.

    Without a ``path`` it is that of the official image, which has neither section.

    Raises:
        Refused: the file cannot be read, is not YAML, or is not a registry's configuration.
    """
    try:
        document = registry_yaml.read(contents(path).decode("utf-8-sig")) if path else {}
        if not isinstance(document, dict):
            raise Refused(f"{path} is not a registry's configuration")
        document["auth"] = environment.auth_section(document.get("auth"))
        environment.override(document, environ or {})
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise Refused(f"{path or 'a value in its environment'} is not YAML{where}") from None
    except (UnicodeDecodeError, RecursionError):
        raise Refused(f"{path or 'its environment'} is not YAML") from None
    auth, tls = document["auth"], _mapping(_mapping(document, "http"), "tls")
    if not isinstance(auth, dict | None):
        raise Refused(f"{path}: its auth section is not a mapping, and it does not start")
    auth = auth or {}
    token = auth["token"] or {} if "token" in auth else None
    if not isinstance(token, dict | None):
        raise Refused(f"{path}: its auth.token section is not a mapping, and it does not start")
    return ConfigFile(
        token=token,
        other_auth=tuple(str(name) for name in auth if name != "token"),
        has_tls=bool(tls.get("certificate") or _mapping(tls, "letsencrypt").get("cachefile")),
    )


def _mapping(parent: dict[str, Any], name: str) -> dict[str, Any]:
    section = parent.get(name)
    return section if isinstance(section, dict) else {}
