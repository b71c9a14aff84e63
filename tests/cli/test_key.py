"""authserver key: what an operator sees of the keys and does with them."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authserver.cli import cli
from authserver.core.signatures import KeyType
from authserver.keys import master_key, signing_keys
from authserver.keys.jose import KeyPair
from authserver.keys.keyring import make_authority, make_own
from authserver.keys.master_key import read_master_key
from tests.cli.commands import Commands
from tests.world import SERVICE


def states(run: Commands) -> list[tuple[str, int, str]]:
    return [(key["role"], key["id"], key["state"]) for key in run.json("key", "list")]


def test_the_keys_are_listed_without_their_private_halves(run: Commands) -> None:
    authority, leaf = run.json("key", "list")
    assert (authority["role"], authority["signs"], authority["state"]) == (
        "authority",
        False,
        "active",
    )
    assert (leaf["role"], leaf["signs"], leaf["state"]) == ("signing key", True, "active")
    for key in (authority, leaf):
        assert key.keys() == {
            "role",
            "id",
            "state",
            "key_id",
            "key_type",
            "subject",
            "not_before",
            "not_after",
            "registry",
            "header_mode",
            "signs",
        }
        assert datetime.fromisoformat(key["not_before"]) < datetime.fromisoformat(key["not_after"])
    head, *lines = run("key", "list").splitlines()
    assert head.startswith("ROLE")
    assert [line.split("  ")[0] for line in lines] == ["authority", "signing key"]
    assert "PRIVATE" not in run.out


def test_the_authority_lives_ten_years_and_the_signing_key_45_days(run: Commands) -> None:
    lives = [
        datetime.fromisoformat(key["not_after"]) - datetime.fromisoformat(key["not_before"])
        for key in run.json("key", "list")
    ]
    assert [life.days for life in lives] == [3652, 45]
    assert [life.seconds for life in lives] == [3600, 3600], "backdated an hour"


def test_the_bundle_is_the_authoritys_certificate_and_nothing_else(run: Commands) -> None:
    bundle = run("key", "bundle")
    (certificate,) = x509.load_pem_x509_certificates(bundle.encode())
    assert bundle.startswith("-----BEGIN CERTIFICATE-----\n")
    assert bundle.endswith("-----END CERTIFICATE-----\n")
    assert bundle.count("-----BEGIN") == 1
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    authority, _ = run.json("key", "list")
    assert certificate.subject.rfc4514_string() == authority["subject"]


def test_the_jwks_holds_the_signing_key_under_both_ids(run: Commands) -> None:
    rfc7638, libtrust = (key["kid"] for key in json.loads(run("key", "jwks"))["keys"])
    assert rfc7638 == run.json("key", "list")[1]["key_id"]
    assert libtrust.count(":") == 11
    assert run("key", "jwks", SERVICE) == run("key", "jwks")


# Rotation.


def test_the_signing_key_is_rotated(run: Commands) -> None:
    bundle = run("key", "bundle")
    run("key", "rotate")
    assert "Signing key 2 signs from now on; the private half of 1 is destroyed." in run.err
    assert states(run)[1:] == [("signing key", 1, "retired"), ("signing key", 2, "active")]
    assert run("key", "bundle") == bundle, "no registry need be told"
    run("db", "check")


def test_revoking_says_what_it_cannot_do(run: Commands) -> None:
    ends = datetime.fromisoformat(run.json("key", "list")[1]["not_after"])
    run("key", "revoke", 1, "--yes")
    assert "Registries check no revocation" in run.err
    assert f"{ends:%Y-%m-%d %H:%M:%SZ}" in run.err
    assert "key authority rotate" in run.err
    assert states(run)[1:] == [("signing key", 1, "revoked"), ("signing key", 2, "active")]
    run("key", "revoke", 1, "--yes", status=1)


@pytest.mark.parametrize("command", [["revoke", "1"], ["rotate", "--registry", "other"]])
def test_what_asks_fails_without_a_terminal(run: Commands, command: list[str]) -> None:
    run("registry", "add", "other", "--header-mode", "libtrust")
    run("key", "rotate", "--registry", "other")
    before = states(run)
    run("key", *command, status=2)
    assert "--yes" in run.err
    assert states(run) == before


# The authority.


def test_an_authority_is_replaced_by_its_commands(run: Commands) -> None:
    run("registry", "add", "other")
    run("key", "authority", "rotate")
    assert "key authority confirm SERVICE" in run.err
    assert run("key", "bundle").count("BEGIN CERTIFICATE") == 2
    run("key", "authority", "activate", status=1)
    assert "other, registry" in run.err
    run("key", "authority", "confirm", "other", SERVICE)
    assert run.json("registry", "show", "other")["confirmed_authority"] == 2
    run("key", "authority", "activate")
    run("key", "authority", "retire", "--yes", status=1)
    assert "may be in use until" in run.err
    run("key", "authority", "retire", "--force", "--yes")
    assert states(run) == [
        ("authority", 1, "retired"),
        ("authority", 2, "active"),
        ("signing key", 1, "retired"),
        ("signing key", 2, "active"),
    ]
    assert run("key", "bundle").count("BEGIN CERTIFICATE") == 1


def test_a_registry_that_there_is_not_cannot_be_confirmed(standing: Commands) -> None:
    standing("key", "authority", "confirm", "nowhere", status=1)
    standing("key", "authority", "activate", status=1)
    standing("key", "authority", "retire", 1, "--yes", status=1)


# A registry's own key.


def test_an_own_key_is_rotated_in_two_steps(run: Commands, tmp_path: Path) -> None:
    run("registry", "add", "other", "--header-mode", "libtrust", "--registry-version", "2.8")
    first = run("key", "bundle", "other")
    run("key", "rotate", "--registry", "other")
    assert "Signing key 3 waits" in run.err
    both = run("key", "bundle", "other")
    assert first in both
    assert len(both) > len(first)
    run("key", "rotate", "--registry", "other", "--yes")
    assert "Signing key 3 signs for other" in run.err
    assert states(run)[2:] == [("signing key", 2, "retired"), ("signing key", 3, "active")]
    run("key", "rotate", "--registry", SERVICE, status=1)
    assert "no key of its own" in run.err


# Keys that were made elsewhere.


def files(place: Path, pair: KeyPair) -> tuple[Path, Path]:
    key, certificate = place / "auth.key", place / "auth.crt"
    key.write_bytes(pair.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    certificate.write_text(pair.certificate_pem())
    return key, certificate


def test_an_authority_is_imported_and_takes_over(run: Commands, tmp_path: Path) -> None:
    pair = make_authority("another", datetime.now(UTC))
    key, certificate = files(tmp_path, pair)
    key.chmod(0o644)
    run("key", "import", "--key", key, "--certificate", certificate)
    assert "Authority 2 waits" in run.err
    assert f"everybody on this machine may read {key}" in run.err
    assert f"remove {key}" in run.err
    run("key", "authority", "confirm", SERVICE)
    run("key", "authority", "activate")
    run("key", "authority", "retire", "--force", "--yes")
    assert run("key", "bundle") == certificate.read_text()


def test_a_key_is_imported_for_one_registry(run: Commands, tmp_path: Path) -> None:
    key, certificate = files(tmp_path, make_own("theirs", KeyType.RSA2048, datetime.now(UTC)))
    given = ("--key", key, "--certificate", certificate)
    run("key", "import", *given, status=1)
    assert "--registry" in run.err
    run("key", "import", *given, "--registry", SERVICE, "--header-mode", "libtrust")
    assert run("key", "bundle", SERVICE).startswith(certificate.read_text())
    shown = run.json("registry", "show", SERVICE)
    assert (shown["header_mode"], shown["own_key"]) == ("libtrust", 2)
    assert run.json("key", "list")[2]["key_type"] == "rsa-2048"
    run("key", "import", *given, "--registry", SERVICE, status=1)
    assert "there already" in run.err


def test_a_private_key_stays_in_its_directory(run: Commands, tmp_path: Path) -> None:
    key, certificate = files(tmp_path, make_own("theirs", KeyType.P256, datetime.now(UTC)))
    given = ("--certificate", certificate, "--registry", SERVICE)
    run("key", "import", *given, status=1)
    assert "AUTHSERVER_PRIVATE_KEY_DIR" in run.err
    run.env["AUTHSERVER_PRIVATE_KEY_DIR"] = str(tmp_path)
    run("key", "import", *given)
    run("db", "check")
    key.unlink()
    run("db", "check", status=1)


@pytest.mark.parametrize(
    ("option", "content", "why"),
    [
        ("--key", "nothing", "auth.key holds no private key"),
        ("--certificate", "nothing", "auth.crt holds no certificate"),
        ("--key", None, "is not the one of the certificate"),
    ],
)
def test_files_that_are_no_use_are_refused(
    standing: Commands, tmp_path: Path, option: str, content: str | None, why: str
) -> None:
    pair = make_authority("another", datetime.now(UTC))
    key, certificate = files(tmp_path, pair)
    if content is not None:
        (key if option == "--key" else certificate).write_text(content)
    else:
        other = make_authority("other", datetime.now(UTC))
        files(tmp_path, KeyPair(other.private, pair.certificate))
    standing("key", "import", "--key", key, "--certificate", certificate, status=1)
    assert why in standing.err


# The master key.


def master_files(data_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data_dir.glob("master.key*")}


def test_the_master_key_is_changed(run: Commands) -> None:
    before = master_files(run.data_dir)
    run("key", "rewrap")
    after = master_files(run.data_dir)
    assert after.keys() == {"master.key"}
    assert after != before
    assert stat.S_IMODE((run.data_dir / "master.key").stat().st_mode) == 0o600
    assert read_master_key(run.data_dir / "master.key").id in run.err
    run("db", "check")
    run("audit", "verify")
    (run.data_dir / "master.key").write_bytes(before["master.key"])
    run("db", "check", status=1)
    assert "bring the master key file that belongs to it" in run.out


STEPS = ("make_master_key", "rewrap", "take_over")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_the_store_can_be_opened_wherever_the_change_was_cut(
    run: Commands, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    place: Any = signing_keys if step == "rewrap" else master_key
    real = getattr(place, step)

    def cut(*args: Any) -> None:
        if when == "after":
            real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(place, step, cut)
    env = {"AUTHSERVER_DATA_DIR": str(run.data_dir)}
    assert CliRunner().invoke(cli, ["key", "rewrap"], env=env).exit_code != 0
    run("db", "check")
    run("key", "rotate")
    monkeypatch.setattr(place, step, real)
    run("key", "rewrap")
    assert master_files(run.data_dir).keys() == {"master.key"}
    run("db", "check")
    run("audit", "verify")


def test_a_next_master_key_that_is_there_is_taken(run: Commands) -> None:
    brought = b"bm90IHNlY3JldCBidXQgdGhpcnR5LXR3byBieXRlcyE=\n"
    path = run.data_dir / "master.key.new"
    path.write_bytes(brought)
    path.chmod(0o600)
    run("key", "rewrap")
    assert master_files(run.data_dir) == {"master.key": brought}
    run("db", "check")
