"""Where settings come from: environment ``AUTHSERVER_*``, then TOML file, then default."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from authserver.core.errors import Refused
from authserver.runtime.settings.model import PREFIX, REMEDIES, Settings

CONFIG_FILE = "AUTHSERVER_CONFIG_FILE"
DEFAULT_CONFIG_FILE = Path("/etc/authserver/authserver.toml")
LOW_COST = 10

# What Kubernetes injects into every pod beside a Service that is called "authserver".
_kubernetes = re.compile(
    r"AUTHSERVER_(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP).*)?)"
)

SECRETS = ("database_url", "admin_password", "limits_url")
"""The settings that may stand in a file of their own, named by ``AUTHSERVER_…_FILE``."""

OTHER_NAMES = {
    CONFIG_FILE: f"TOML file with settings; by default {DEFAULT_CONFIG_FILE} if it is there.",
    **{
        f"{PREFIX}{name.upper()}_FILE": f"File that holds the value of {PREFIX}{name.upper()}."
        for name in SECRETS
    },
}
"""Names beside the settings' own that the environment may hold."""


@dataclass(frozen=True)
class Loaded:
    """The settings, what an operator should be warned of, and the file that was read."""

    settings: Settings
    warnings: tuple[str, ...]
    file: Path | None


def load(environ: Mapping[str, str]) -> Loaded:
    """Read all sources.

    Raises:
        Refused: a name or a key is unknown, a value is not valid, or a file cannot be read.
    """
    warnings = _foreign_names(environ)
    file = _file(environ)
    values = (_read_toml(file) if file else {}) | _read_secret_files(environ)
    hidden = {name: os.environ.pop(name) for name in warnings if name in os.environ}
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise Refused(_explain(error)) from None
    finally:
        os.environ.update(hidden)
    return Loaded(settings, (*warnings.values(), *_advice(settings)), file)


def _foreign_names(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a warning for each name that Kubernetes injected; refuse what nobody knows."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OTHER_NAMES.keys()
    warnings = {}
    for name, value in environ.items():
        if not name.upper().startswith(PREFIX):
            continue
        if name != name.upper():
            raise Refused(f"the setting {name} in the environment: write {name.upper()}")
        if _kubernetes.fullmatch(name) and (name not in known or value.startswith("tcp://")):
            warnings[name] = (
                f"{name} was injected by Kubernetes and is ignored: "
                "set enableServiceLinks: false on the pod"
            )
        elif name not in known:
            short = {known_name.removeprefix(PREFIX) for known_name in known}
            close = get_close_matches(name.removeprefix(PREFIX), short, 1)
            raise Refused(
                f"unknown setting {name} in the environment"
                + (f"; did you mean {PREFIX}{close[0]}?" if close else "; see docs/settings.md")
            )
    return warnings


def _file(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get(CONFIG_FILE):
        return Path(named)
    try:
        DEFAULT_CONFIG_FILE.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it may be there: reading it says what is wrong
    return DEFAULT_CONFIG_FILE


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(_read(path, f"the settings file {path}"))
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"the settings file {path} is not valid TOML: {error}") from None
    for key in values:
        if key not in Settings.model_fields:
            close = get_close_matches(key, Settings.model_fields, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise Refused(f"unknown setting {key} in {path}{hint}")
    return {key: value for key, value in values.items() if value != ""}


def _read_secret_files(environ: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for name in SECRETS:
        variable = f"{PREFIX}{name.upper()}"
        if path := environ.get(f"{variable}_FILE"):
            if environ.get(variable):
                raise Refused(f"{variable} and {variable}_FILE are both set: keep one")
            what = f"the file that {variable}_FILE names, {path},"
            values[name] = _read(Path(path), what).rstrip("\r\n")
            if not values[name]:
                raise Refused(f"{what} is empty")
    return values


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(f"{what} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Refused(f"{what} is not UTF-8 text") from None


def _explain(error: ValidationError) -> str:
    # One for each setting: of a network it would be said that it is neither IPv4 nor IPv6.
    whole = [str(e["ctx"]["error"]) for e in error.errors() if not e["loc"]]
    if whole:
        return f"invalid setting {whole[0]}"
    said = {str(e["loc"][0]): _remedy(str(e["loc"][0]), e) for e in error.errors()}
    return "invalid setting " + "; ".join(
        f"{PREFIX}{name.upper()} ({name}): {remedy}" for name, remedy in said.items()
    )


def _remedy(name: str, error: ErrorDetails) -> str:
    """Say what the setting must be. What it is may be a secret, and is not repeated."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if name in REMEDIES:
        return REMEDIES[name]
    field = Settings.model_fields[name]
    limits = ((limit, end) for limit in field.metadata for end in ("ge", "le"))
    if bounds := [getattr(limit, end) for limit, end in limits if hasattr(limit, end)]:
        return f"must be a whole number from {min(bounds)} to {max(bounds)}"
    if get_origin(field.annotation) is Literal:
        return f"must be one of {', '.join(get_args(field.annotation))}"
    return "must be text: quote it in the settings file"


def _advice(settings: Settings) -> Iterator[str]:
    """Give what is allowed and seldom meant."""
    if settings.bcrypt_cost < LOW_COST:
        yield (
            f"AUTHSERVER_BCRYPT_COST is {settings.bcrypt_cost}: hashes of a cost below {LOW_COST} "
            "are guessed too fast if the store leaks"
        )
    if any(network.prefixlen == 0 for network in settings.trusted_proxies):
        yield (
            "AUTHSERVER_TRUSTED_PROXIES trusts every address: any client can name the address that "
            "it comes from"
        )
