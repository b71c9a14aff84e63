"""What `jwt inspect` says of tokens, held against what real registries say."""

import json
from pathlib import Path

import pytest

from authserver.keys.compatibility import Version
from tests import odd_tokens, programs
from tests.e2e.lab import PROGRAMS, serving_registry
from tests.odd_tokens import Keys

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("version", Version)
def test_registries_accept_what_they_are_said_to_accept(version: Version, tmp_path: Path) -> None:
    programs.require(PROGRAMS[version])
    keys = Keys()
    with serving_registry(tmp_path, section(tmp_path, keys), PROGRAMS[version]) as registry:
        wrong = {}
        for case in odd_tokens.cases(keys):
            said = registry.ask("/v2/", token=case.token).status
            if said != (200 if version in case.accepted else 401):
                wrong[case.name] = said
    assert not wrong


def section(directory: Path, keys: Keys) -> str:
    """Write the bundle and the JWKS; return the section that names both."""
    bundle, jwks = directory / "bundle.pem", directory / "jwks.json"
    bundle.write_text(keys.bundle_pem())
    jwks.write_text(json.dumps(keys.jwks()))
    options = {
        "realm": "http://localhost:1/token",
        "service": odd_tokens.SERVICE,
        "issuer": odd_tokens.ISSUER,
        "rootcertbundle": str(bundle),
        "jwks": str(jwks),
    }
    return f"auth: {json.dumps({'token': options})}\n"
