"""What real registries accept, held against our own rules and the documentation."""

from pathlib import Path

import pytest

from authserver.acceptance import refusal
from authserver.distribution.versions import Version
from authserver.headers import HeaderMode, KeyType
from tests.e2e import registry_matrix
from tests.e2e.fetching import ask_for_token
from tests.e2e.lab import ADMIN, PROGRAMS, installation, serving_registry
from tests.e2e.registry_matrix import COLUMNS, LEAF, OWN, PAGE, ROWS, Column, Keys
from tests.programs import free_port, require

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
    tmp_path: Path, version: str, trust: str, mode: str, key_type: str
) -> None:
    program = PROGRAMS[Version(version)]
    require(program)
    port = free_port()
    authserver = installation(tmp_path / "data", port)
    how = ("--registry-version", version, "--trust", trust)
    authserver.run("registry", "add", "other", *how, "--header-mode", mode, "--key-type", key_type)
    printed = authserver.run("registry", "config", "other", "--output-dir", str(tmp_path / "trust"))
    assert ("signingalgorithms" in printed.stdout) == (version != "2.8")
    with (
        authserver.serving(port, "--workers", "1"),
        serving_registry(tmp_path, printed.stdout, program) as registry,
    ):
        realm = f"http://localhost:{port}/token"
        answer = ask_for_token(realm, "registry:catalog:*", auth=ADMIN, service="other")
        token = str(answer.json()["token"])
        assert registry.ask("/v2/_catalog", token=token).status == 200
        other = ask_for_token(realm, auth=ADMIN).json()["token"]
        assert registry.ask("/v2/", token=other).status == 401
        url = registry.url("")
        checked = authserver.run("registry", "check", "other", "--url", url, check=False)
        assert "passed     token" in checked.stdout, checked.stdout
