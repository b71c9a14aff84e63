"""What real registries accept, held against our own rules and the documentation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from authserver.core.signatures import HeaderMode, KeyType
from authserver.keys.compatibility import Version, refusal
from tests.cli.commands import Commands
from tests.e2e import registry_matrix
from tests.e2e.fetching import Answer, ask_for_token
from tests.e2e.lab import ADMIN, PROGRAMS, installation, serving_registry
from tests.e2e.registry_matrix import COLUMNS, LEAF, OWN, PAGE, ROWS, Column, Keys
from tests.programs import free_port, require
from tests.world import wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys.made()


@pytest.mark.parametrize("column", COLUMNS, ids="-".join)
def test_registries_accept_what_we_and_the_documentation_say(
    keys: Keys, column: Column, tmp_path: Path
) -> None:
    version, trust = column
    require(PROGRAMS[version])
    found = registry_matrix.recorded(keys, column, tmp_path)
    accepted = [row for row in ROWS if refusal(row[0], row[1], version, trust) is None]
    assert [row for row in ROWS if found[row] == "200"] == accepted
    documented = registry_matrix.column_of(PAGE.read_text(), column)
    assert found == documented, "`python -m tests.e2e.registry_matrix` writes it anew"


def test_the_documentation_has_nothing_else() -> None:
    text = PAGE.read_text()
    columns = {column: registry_matrix.column_of(text, column) for column in COLUMNS}
    assert text == registry_matrix.page(columns)


def test_every_mode_and_key_type_is_in_the_table() -> None:
    rows = {(mode, key_type) for mode, key_type, _ in ROWS}
    assert rows == {(mode, key_type) for mode in HeaderMode for key_type in KeyType}
    assert {whose for _, _, whose in ROWS} == {LEAF, OWN}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    port = free_port()
    authserver = installation(tmp_path_factory.mktemp("matrix") / "data", port)
    with authserver.serving(port, "--workers", "1"):
        yield Commands(authserver.data_dir, dict(authserver.env))


def token(run: Commands, service: str) -> str:
    """Return a registry token, as soon as the server knows the entry."""
    realm = f"{run.env['AUTHSERVER_PUBLIC_URL']}/token"

    def ask() -> Answer:
        return ask_for_token(realm, "registry:catalog:*", auth=ADMIN, service=service)

    assert wait_until(lambda: ask().status == 200, 10)
    return str(ask().json()["token"])


@pytest.mark.parametrize(
    ("version", "trust", "mode", "key_type"),
    [
        ("2.8", "bundle", "libtrust", "p-256"),
        ("2.8", "bundle", "libtrust", "rsa-2048"),
        ("3.0", "jwks", "libtrust", "p-256"),
        ("3.0", "bundle", "rfc7638", "rsa-2048"),
        ("3.1", "bundle", "rfc7638", "p-256"),
        ("3.1", "both", "rfc7638", "rsa-2048"),
    ],
)
def test_what_is_printed_for_a_registry_makes_it_accept_our_tokens(
    served: Commands, tmp_path: Path, version: str, trust: str, mode: str, key_type: str
) -> None:
    program = PROGRAMS[Version(version)]
    require(program)
    service, how = f"{version} {trust} {key_type}", ("--registry-version", version)
    keyed = ("--header-mode", mode, "--key-type", key_type, "--trust", trust)
    served("registry", "add", service, *how, *keyed)
    printed = served("registry", "config", service, "--output-dir", tmp_path / "trust")
    assert ("signingalgorithms" in printed) == (version != "2.8")
    with serving_registry(tmp_path, printed, program) as registry:
        assert registry.ask("/v2/_catalog", token=token(served, service)).status == 200
        assert registry.ask("/v2/", token=token(served, "registry")).status == 401
        checked = served("registry", "check", service, "--url", registry.url(""))
        assert "passed     token" in checked, checked
