"""``authserver key import``: a key and certificate that registries trust already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from authserver.cli import key_authority
from authserver.cli.context import Context, pass_context
from authserver.cli.output import note
from authserver.cli.params import REGISTRY, Values
from authserver.core.errors import Refused
from authserver.core.signatures import HeaderMode
from authserver.db import lookup
from authserver.keys import authorities, jose, keyring, registry_keys

if TYPE_CHECKING:
    from cryptography import x509

    from authserver.db.store import Change
    from authserver.keys.private_keys import Safe

_file = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("import", short_help="Import a key that registries trust already.")
@click.option(
    "--certificate",
    "certificate_file",
    type=_file,
    required=True,
    help="The certificate (PEM) that the registry's rootcertbundle holds.",
)
@click.option(
    "--key",
    "key_file",
    type=_file,
    help="Its private key (PEM), P-256 or RSA. Without it the key must be in a file of "
    "AUTHSERVER_PRIVATE_KEY_DIR, and stays there.",
)
@click.option(
    "--registry",
    "service",
    metavar="SERVICE",
    type=REGISTRY,
    help="Sign this registry's tokens with the key itself. Otherwise the certificate must be one "
    "of an authority (CA:TRUE), under which signing keys are made.",
)
@click.option(
    "--header-mode",
    type=Values(HeaderMode),
    default=HeaderMode.X5C.value,
    show_default=True,
    help="How the registry's tokens name the key; with --registry.",
)
@pass_context
def command(
    context: Context,
    certificate_file: Path,
    key_file: Path | None,
    service: str | None,
    header_mode: HeaderMode,
) -> None:
    """Import a key and certificate, so that registries need not be touched.

    Another token server's certificate usually is one of an authority (CA:TRUE): it is added, waits,
    and is activated once every registry is confirmed to trust it. One that is not signs for one
    registry, from now on.
    """
    certificate = _certificate(certificate_file)
    pair = jose.KeyPair(_private(key_file, certificate), certificate) if key_file else None
    with context.change() as change:
        safe = context.safe_of(change.session)
        if service is None:
            _import_authority(change, safe, certificate, pair)
        else:
            registry = lookup.registry(change.session, service)
            row = registry_keys.bring(change, safe, registry, header_mode, certificate, pair)
            registry_keys.activate(change, registry, row.id)
            registry_keys.require_accepted(change.session, registry)
            note(f"Signing key {row.id} signs for {service} from now on.")
    if key_file is not None:
        note(f"The private key is in the store now: remove {key_file} once nothing needs it.")


def _import_authority(
    change: Change, safe: Safe, certificate: x509.Certificate, pair: jose.KeyPair | None
) -> None:
    if not keyring.may_certify(certificate):
        raise Refused(
            "the certificate is not one of an authority (CA:TRUE, keyCertSign), so no signing key "
            "can be made under it: name the registry that it signs for with --registry"
        )
    note(key_authority.waiting_note(authorities.bring(change, safe, certificate, pair).id))


def _certificate(path: Path) -> x509.Certificate:
    try:
        certificate = keyring.read_certificate(path.read_bytes())
        keyring.require_usable_key(certificate)
    except (OSError, Refused) as error:
        raise Refused(f"the certificate file {path} {_why(error)}") from None
    return certificate


def _private(path: Path, certificate: x509.Certificate) -> jose.PrivateKey:
    try:
        private = keyring.read_private_key(path.read_bytes())
    except (OSError, Refused) as error:
        raise Refused(f"the private key file {path} {_why(error)}") from None
    if private.public_key() != certificate.public_key():
        raise Refused(f"the private key in {path} is not the one of the certificate")
    if path.stat().st_mode & 0o007:
        note(f"Warning: everybody on this machine may read {path}, and may have read it before.")
    return private


def _why(error: OSError | Refused) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
