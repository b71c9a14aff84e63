"""authserver key: what an operator sees of the keys."""

from datetime import datetime

from cryptography import x509

from tests.cli.commands import Commands


def test_the_keys_are_listed_without_their_private_halves(run: Commands) -> None:
    authority, leaf = run.json("key", "list")
    assert (authority["role"], authority["signs"]) == ("authority", False)
    assert (leaf["role"], leaf["signs"]) == ("signing key", True)
    for key in (authority, leaf):
        assert key.keys() == {
            "role",
            "id",
            "key_id",
            "subject",
            "not_before",
            "not_after",
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
