"""The ``auth.token`` section of a registry's own configuration, and the files that it names.

``registry config``, the API and the console show it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from authserver.core.commands import shell_command
from authserver.db.models import RegistryRow
from authserver.db.store import Store
from authserver.keys import registry_keys, signing_keys
from authserver.keys.compatibility import Trust, usual_version
from authserver.registry import published_keys
from authserver.registry.published_keys import PublishedKeys
from authserver.runtime.settings import Settings, public_url

DIRECTORY = "/etc/docker/registry"
"""Where the files are, as the registry sees them, unless another place is given."""


@dataclass(frozen=True)
class TrustedFile:
    """A file that the registry reads its trust from; ``option`` is what names it in the section.

    ``path`` is where the registry will see it, ``command`` what prints it.
    """

    option: str
    kind: str
    name: str
    path: str
    command: str
    content: str


@dataclass(frozen=True)
class AuthSection:
    """The section for one registry, by the first number of its ``version``."""

    service: str
    version: str
    realm: str
    issuer: str
    algorithms: Sequence[str]
    files: Sequence[TrustedFile]
    doubts: Sequence[str]

    @property
    def text(self) -> str:
        """Return the section as YAML."""
        options: dict[str, object] = {
            "realm": self.realm,
            "service": self.service,
            "issuer": self.issuer,
            **{file.option: file.path for file in self.files},
        }
        if self.version == "3":
            options["signingalgorithms"] = [*self.algorithms]
        # A JSON value is a YAML value, and a quoted one is never taken for a number or a boolean.
        lines = [f"    {name}: {json.dumps(value)}" for name, value in options.items()]
        return "\n".join(["auth:", "  token:", *lines])

    def as_json(self) -> dict[str, Any]:
        """Return it for ``--json`` and the API."""
        return {
            "service": self.service,
            "version": self.version,
            "section": self.text,
            "files": [asdict(file) for file in self.files],
            "doubts": [*self.doubts],
        }


def of(
    session: Session,
    registry: RegistryRow,
    settings: Settings,
    store: Store,
    version: str | None = None,
    directory: str = DIRECTORY,
    paths: Mapping[str, str | None] | None = None,
) -> AuthSection:
    """Return the section for a registry.

    ``version`` is the first number of Distribution's; otherwise the entry's, or what fits its
    header mode. The files are in ``directory`` as the registry sees it, or at ``paths``, by option.
    """
    mode, at = registry_keys.header_mode(session, registry), store.time(session)
    usual = registry.version.partition(".")[0] if registry.version else usual_version(mode)
    keys = published_keys.for_registry(session, registry, at)
    return AuthSection(
        service=registry.service,
        version=version or usual,
        realm=settings.realm,
        issuer=signing_keys.issuer(session),
        algorithms=published_keys.algorithms(session, registry, at),
        files=_files(registry, keys, directory, paths or {}),
        doubts=_doubts(settings.public_url),
    )


def _files(
    registry: RegistryRow, keys: PublishedKeys, directory: str, paths: Mapping[str, str | None]
) -> list[TrustedFile]:
    def file(option: str, kind: str, name: str, command: str, content: str) -> TrustedFile:
        printed = shell_command("key", command, operand=registry.service)
        path = paths.get(option) or f"{directory}/{name}"
        return TrustedFile(option, kind, name, path, printed, content)

    bundle = file(
        "rootcertbundle", "certificate bundle", "authserver-bundle.pem", "bundle", keys.bundle
    )
    jwks = file("jwks", "JWKS", "authserver-jwks.json", "jwks", keys.jwks)
    by_trust = {Trust.BUNDLE: [bundle], Trust.JWKS: [jwks], Trust.BOTH: [bundle, jwks]}
    return by_trust[Trust(registry.trust)]


def _doubts(url: str) -> list[str]:
    texts = public_url.doubts("the realm", url)
    if public_url.is_address(urlsplit(url).hostname):
        texts.insert(
            0, "the realm is an address: crane and oras refuse private addresses; use a DNS name"
        )
    return texts
