"""What real registries accept; ``python -m tests.e2e.registry_matrix`` writes its table in docs/.

A registry runs for each version and trust, and is shown a token by each key in each header mode.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from authserver.core.claims import Claims
from authserver.core.signatures import HeaderMode, KeyType
from authserver.keys.compatibility import Trust, Version
from authserver.keys.header_modes import public_jwks, signer_of
from authserver.keys.jose import KeyPair, public_key
from authserver.keys.keyring import make_authority, make_leaf, make_own
from tests.e2e.lab import PROGRAMS, serving_registry

PAGE = Path(__file__).parents[2] / "docs" / "registry-matrix.md"
ISSUER, SERVICE = "authserver", "registry"
COLUMNS = [(version, trust) for version in Version for trust in Trust]
LEAF, OWN = "under the authority", "own key"
ROWS = [
    *((HeaderMode.X5C, key_type, LEAF) for key_type in KeyType),
    *((mode, key_type, OWN) for mode in HeaderMode for key_type in KeyType),
]
NO_START = "no start"
Row = tuple[HeaderMode, KeyType, str]
Column = tuple[Version, Trust]

HEAD = f"""\
# What registries accept

Recorded from Distribution 2.8.2 (Debian's), 3.0.0 and 3.1.1; `python -m tests.e2e.registry_matrix`
renews this page. Each registry had a `rootcertbundle` (bundle: the authority, and the certificates
of the own keys), a `jwks` (the same keys, each under both ids), or both.
*{NO_START}*: 2.8 needs a bundle. `registry add` and `registry edit` refuse a header mode
or key that this table does not accept for the entry's `--registry-version` and `--trust`.

"""


@dataclass(frozen=True)
class Keys:
    """An authority, and keys of each type under it and by themselves."""

    authority: KeyPair
    pairs: Mapping[tuple[KeyType, str], KeyPair]

    @classmethod
    def made(cls) -> "Keys":
        now = datetime.now(UTC)
        authority = make_authority(ISSUER, now)
        leaves = {(kind, LEAF): make_leaf(authority, now, kind) for kind in KeyType}
        own = {(kind, OWN): make_own(SERVICE, kind, now) for kind in KeyType}
        return cls(authority, leaves | own)

    def bundle(self) -> str:
        own = [pair for (_, whose), pair in self.pairs.items() if whose == OWN]
        return "".join(pair.certificate_pem() for pair in (*own, self.authority))

    def jwks(self) -> str:
        publics = [public_key(pair.certificate) for pair in self.pairs.values()]
        return json.dumps({"keys": [jwk for public in publics for jwk in public_jwks(public)]})

    def token(self, row: Row) -> str:
        mode, key_type, whose = row
        now = datetime.now(UTC)
        claims = Claims.of(ISSUER, "alice", SERVICE, 300, ()).encode(int(now.timestamp()), "matrix")
        return signer_of(self.pairs[key_type, whose], mode).sign(claims, now)


def recorded(keys: Keys, column: Column, directory: Path) -> dict[Row, str]:
    """Return the status with which one registry answers a token by each key in each mode."""
    version, trust = column
    try:
        with serving_registry(directory, _section(keys, trust, directory), PROGRAMS[version]) as on:
            return {row: str(on.ask("/v2/", token=keys.token(row)).status) for row in ROWS}
    except pytest.fail.Exception:
        # It ended: what it was configured with is not enough.
        return dict.fromkeys(ROWS, NO_START)


def _section(keys: Keys, trust: Trust, directory: Path) -> str:
    """Write what the registry trusts; return the section that names it."""
    bundle, jwks = directory / "bundle.pem", directory / "jwks.json"
    bundle.write_text(keys.bundle())
    jwks.write_text(keys.jwks())
    options = {"realm": "http://localhost:1/token", "service": SERVICE, "issuer": ISSUER}
    if trust is not Trust.JWKS:
        options["rootcertbundle"] = str(bundle)
    if trust is not Trust.BUNDLE:
        options["jwks"] = str(jwks)
    return f"auth: {json.dumps({'token': options})}\n"


def page(table: Mapping[Column, Mapping[Row, str]]) -> str:
    """Return the documentation of what was recorded."""
    return "".join([HEAD, *_lines(table)])


def _lines(table: Mapping[Column, Mapping[Row, str]]) -> Iterator[str]:
    names = [f"{version} {trust}" for version, trust in COLUMNS]
    yield f"| Header mode | Key | {' | '.join(names)} |\n"
    yield "|---" * (len(names) + 2) + "|\n"
    for row in ROWS:
        mode, key_type, whose = row
        cells = [table[column][row] for column in COLUMNS]
        yield f"| `{mode}` | {key_type}, {whose} | {' | '.join(cells)} |\n"


def column_of(text: str, column: Column) -> dict[Row, str]:
    """Return what a page says of one registry."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    place = COLUMNS.index(column) + 2
    cells = [line.strip("|").split("|")[place].strip() for line in lines]
    return dict(zip(ROWS, cells, strict=True))


def main() -> None:
    """Record every registry and write the page."""
    keys, table = Keys.made(), {}
    for column in COLUMNS:
        with TemporaryDirectory() as directory:
            table[column] = recorded(keys, column, Path(directory))
    PAGE.write_text(page(table))


if __name__ == "__main__":
    main()
