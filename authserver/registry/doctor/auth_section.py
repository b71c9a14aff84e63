"""Compare the token section of the registry's configuration file with our settings and keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.keys.compatibility import ALGORITHM_NAMES
from authserver.keys.jose import algorithm
from authserver.registry.doctor import config_file, environment, trust_files
from authserver.registry.doctor.challenge import SECTION
from authserver.registry.doctor.config_file import ConfigFile
from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.findings import DoctorFinding, compared, failed, not_tried, passed

_FILE = "config.file"


@dataclass(frozen=True)
class Files:
    """Where the registry's files are on this machine; None means the path in its configuration.

    ``environment`` has the variables with which it runs, which override ``config``. Without a
    ``config`` that is the official image's, which has nothing about tokens.
    """

    config: Path | None = None
    environment: Path | None = None
    bundle: Path | None = None
    jwks: Path | None = None


def check(
    files: Files, expected: Expected, proven_realm: str | None, *, asks_for_tokens: bool
) -> Iterator[DoctorFinding]:
    """Yield the findings on a configuration file and the files that it names.

    ``proven_realm`` is another URL at which our token endpoint was found to answer.
    ``asks_for_tokens`` means that the running registry was seen to have a section.
    """
    try:
        environ = environment.read(files.environment) if files.environment else None
        config = config_file.read(files.config, environ)
    except Refused as error:
        yield failed(_FILE, str(error), "name the registry's files, as they are when it starts")
        return
    named = " with ".join(str(path) for path in (files.config, files.environment) if path)
    if config.token is None and asks_for_tokens and environ is None:
        yield not_tried(
            _FILE,
            f"{named} has no auth.token section, and the registry asks for tokens: its section "
            "comes from its environment (REGISTRY_AUTH_TOKEN_…)",
            "name a file of that with --env-file: what `docker inspect` prints, or compose's",
        )
        return
    if config.token is None:
        yield failed(_FILE, f"{named} has no auth.token section", f"{SECTION} and restart it")
        return
    yield _alone(config, named)
    for option, wanted in (("service", expected.service), ("issuer", expected.issuer)):
        yield _option(config, option, wanted)
    yield _realm(config, expected, proven_realm)
    yield from trust_files.check_bundle(config, files.bundle, expected)
    yield from trust_files.check_jwks(config, files.jwks, expected)
    yield _algorithms(config, expected)


def _alone(config: ConfigFile, named: str) -> DoctorFinding:
    if config.other_auth:
        names = printable(", ".join(config.other_auth))
        return failed(
            _FILE,
            f"its auth section has {names} beside token: a registry takes one and does not start",
            f"remove {names} from its auth section and restart it",
        )
    return passed(_FILE, f"{named} has an auth.token section")


def _option(config: ConfigFile, option: str, wanted: str) -> DoctorFinding:
    check = f"config.{option}"
    cure = f'set `{option}: "{wanted}"` in its auth.token section and restart it'
    if (why := _unusable(config, option)) is not None:
        return failed(check, why, cure)
    return compared(check, config.text(option) or "", wanted, cure)


def _unusable(config: ConfigFile, option: str) -> str | None:
    """Return why the registry would not start with an option that must be a string."""
    value = (config.token or {}).get(option)
    if isinstance(value, str) and value:
        return None
    if value is None or value == "":
        return f"it has no {option}, and does not start"
    return f"its {option} is not a string in YAML, and it does not start: quote it"


def _realm(config: ConfigFile, expected: Expected, proven: str | None) -> DoctorFinding:
    named = config.text("realm")
    realm = proven if proven and named == proven else expected.realm
    if config.token and config.token.get("autoredirect") is True:
        path = printable(str(config.token.get("autoredirectpath", "/auth/token")))
        return not_tried(
            "config.realm",
            f"it has autoredirect: its realm is {path} under the name that each client uses",
            "have the proxy pass that path to authserver; clear autoredirect to name the realm",
        )
    if config.has_tls and (named or "").startswith("http:"):
        return failed(
            "config.realm",
            "it is http and the registry has TLS: crane and oras refuse that",
            "serve authserver by https, set AUTHSERVER_PUBLIC_URL, and `realm:` to the same",
        )
    return _option(config, "realm", realm)


def _algorithms(config: ConfigFile, expected: Expected) -> DoctorFinding:
    check, needed = "config.signingalgorithms", algorithm(expected.key.private.public_key())
    listed = (config.token or {}).get("signingalgorithms")
    cure = f'set `signingalgorithms: ["{needed}"]` or remove that line; restart it'
    if listed is None:
        return passed(check, f"none are listed, so it takes {needed}")
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        return failed(check, "it is not a list of names, and 3.x does not start", cure)
    if unknown := [name for name in listed if name not in ALGORITHM_NAMES]:
        return failed(check, f"3.x does not start with {printable(', '.join(unknown))}", cure)
    if listed and needed not in listed:
        return failed(check, f"it does not list {needed}, which our tokens are signed with", cure)
    return passed(check, f"it lists {needed}")
