"""authserver registry: entries, and the section for the registry's own configuration."""

import json
import re
import stat
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.commands import Commands
from tests.programs import Authserver
from tests.world import SERVICE

DEFAULT_BUNDLE = "/etc/docker/registry/authserver-bundle.pem"


def section(text: str) -> dict[str, object]:
    """Read the options of `auth: token:`; every line must be plain YAML with JSON values."""
    first, second, *lines = text.splitlines()
    assert (first, second) == ("auth:", "  token:")
    options = {}
    for line in lines:
        matched = re.fullmatch(r"    ([a-z]+): (\S.*)", line)
        assert matched, line
        options[matched[1]] = json.loads(matched[2])
    return options


def test_a_registry_is_added_listed_shown_and_removed(run: Commands) -> None:
    run("registry", "add", "hub.example.com", "--token-ttl", "900")
    assert run.out == ""
    listed = run.json("registry", "list")
    assert [(r["service"], r["token_ttl"]) for r in listed] == [
        ("hub.example.com", 900),
        (SERVICE, 300),
    ]
    shown = run.json("registry", "show", "hub.example.com")
    assert shown == listed[0]
    assert "900" in run("registry", "show", "hub.example.com")
    run("registry", "remove", "hub.example.com", "--yes")
    assert [r["service"] for r in run.json("registry", "list")] == [SERVICE]


def test_a_table_of_registries_has_a_line_each(run: Commands) -> None:
    run("registry", "add", "other")
    head, *lines = run("registry", "list").splitlines()
    assert head.startswith("SERVICE")
    assert [line.split()[:2] for line in lines] == [["other", "300"], [SERVICE, "300"]]


@pytest.mark.parametrize("ttl", ["59", "0", "-1", "86401"])
def test_a_token_life_out_of_range_is_refused(standing: Commands, ttl: str) -> None:
    standing("registry", "add", "other", "--token-ttl", ttl, status=1)


@pytest.mark.parametrize("ttl", ["60", "86400"])
def test_a_token_life_at_the_ends_of_the_range_is_taken(run: Commands, ttl: str) -> None:
    run("registry", "add", "other", "--token-ttl", ttl)
    assert run.json("registry", "show", "other")["token_ttl"] == int(ttl)


@pytest.mark.parametrize("service", ['a"b', "a\\b", "ä", "", " a", "a ", "a\nb", "x" * 256])
def test_what_a_challenge_cannot_carry_is_no_service(standing: Commands, service: str) -> None:
    standing("registry", "add", service, status=1)


def test_an_edit_of_nothing_is_wrong_usage(run: Commands) -> None:
    before = run.json("audit", "list")
    run("registry", "edit", SERVICE, status=2)
    assert "--token-ttl, --refresh-tokens or --no-refresh-tokens" in run.err
    assert run.json("audit", "list") == before


def test_a_registry_is_added_once(run: Commands) -> None:
    run("registry", "add", SERVICE, status=1)
    assert f"{SERVICE} is there already" in run.err
    run("registry", "add", SERVICE.upper())


@pytest.mark.parametrize("command", ["show", "remove", "config"])
def test_an_unknown_registry_is_not_found(standing: Commands, command: str) -> None:
    standing("registry", command, "nowhere", status=1)
    assert "'nowhere'" in standing.err
    assert SERVICE in standing.err, "the message names what there is"


def test_a_registry_with_rules_is_removed_only_by_force(run: Commands) -> None:
    run("registry", "add", "other")
    run("acl", "deny", "everyone", "a", "pull", "--registry", "other")
    before = run.json("acl", "list")
    run("registry", "remove", "other", "--yes", status=1)
    assert "--force" in run.err
    assert run.json("acl", "list") == before
    run("registry", "remove", "other", "--force", "--yes")
    assert "was removed" in run.err
    assert run.json("acl", "list") == before[:-1]


def test_a_removed_registry_that_is_added_again_inherits_no_rule(run: Commands) -> None:
    run("registry", "add", "other")
    run("acl", "allow", "everyone", "a", "pull", "--registry", "other")
    run("registry", "remove", "other", "--force", "--yes")
    run("registry", "add", "other")
    run("acl", "check", "anonymous", "repository:a:pull", "--registry", "other", status=1)


@pytest.mark.parametrize("version", [[], ["--registry-version", "2"], ["--registry-version", "3"]])
def test_the_section_is_all_that_is_on_standard_output(run: Commands, version: list[str]) -> None:
    run.env["AUTHSERVER_PUBLIC_URL"] = "https://auth.example.com/"
    options = section(run("registry", "config", SERVICE, *version))
    algorithms = options.pop("signingalgorithms", None)
    assert algorithms == (["ES256"] if "3" in version else None)
    assert options == {
        "realm": "https://auth.example.com/token",
        "service": SERVICE,
        "issuer": "authserver",
        "rootcertbundle": DEFAULT_BUNDLE,
    }
    assert "restart the registry" in run.err
    assert f"authserver key bundle {SERVICE} > {DEFAULT_BUNDLE}" in run.err


@pytest.mark.parametrize(
    "service", ["on", "8080", "0x1F", "null", "a: b", "#x", "{a}", "it's", "~"]
)
def test_no_service_is_taken_for_anything_but_a_string(run: Commands, service: str) -> None:
    run("registry", "add", service)
    assert section(run("registry", "config", service))["service"] == service


def test_the_issuer_is_the_stores_whatever_the_setting_says_later(run: Commands) -> None:
    run.env["AUTHSERVER_ISSUER"] = "another"
    assert section(run("registry", "config", SERVICE))["issuer"] == "authserver"


def test_the_bundle_is_written_where_asked_and_named_by_its_absolute_path(
    run: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = section(run("registry", "config", SERVICE, "--output-dir", "deep/registry"))
    (written,) = (tmp_path / "deep" / "registry").iterdir()
    assert options["rootcertbundle"] == str(written)
    assert written.read_text() == run("key", "bundle")
    (certificate,) = x509.load_pem_x509_certificates(written.read_bytes())
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_bundle_is_written_again_over_an_older_one(run: Commands, tmp_path: Path) -> None:
    bundle = run("key", "bundle")
    for _ in range(2):
        run("registry", "config", SERVICE, "--output-dir", tmp_path / "out")
        (written,) = (tmp_path / "out").iterdir()
        assert written.read_text() == bundle
        written.write_text("older")


def test_the_section_names_the_bundle_as_the_registry_will_see_it(
    run: Commands, tmp_path: Path
) -> None:
    for more in ([], ["--output-dir", str(tmp_path / "out")]):
        said = run("registry", "config", SERVICE, "--bundle-path", "/certs/bundle.pem", *more)
        assert section(said)["rootcertbundle"] == "/certs/bundle.pem"
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_the_section_and_its_files_are_json(standing: Commands) -> None:
    told = standing.json("registry", "config", SERVICE, "--registry-version", "3")
    assert (
        told["section"]
        == standing("registry", "config", SERVICE, "--registry-version", "3").strip()
    )
    (file,) = told["files"]
    assert (file["path"], file["content"]) == (DEFAULT_BUNDLE, standing("key", "bundle"))
    assert (told["service"], told["version"]) == (SERVICE, "3")


def test_other_users_may_read_the_bundle(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    Authserver(data_dir).run("registry", "config", SERVICE, "--output-dir", str(out))
    (written,) = out.iterdir()
    assert stat.S_IMODE(written.stat().st_mode) == 0o644
    assert stat.S_IMODE(out.stat().st_mode) == 0o755


def test_an_output_directory_that_cannot_be_made_is_refused(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run("registry", "config", SERVICE, "--output-dir", tmp_path / "file" / "x", status=1)
    assert run.out == ""
    run("registry", "config", SERVICE, "--output-dir", tmp_path / "file", status=2)


def test_an_unknown_version_is_wrong_usage(standing: Commands) -> None:
    standing("registry", "config", SERVICE, "--registry-version", "1", status=2)


@pytest.mark.parametrize(
    ("url", "doubt"),
    [
        ("http://localhost:5001", "localhost"),
        ("https://192.0.2.1", "address"),
        ("http://[2001:db8::1]:5001", "address"),
        ("http://auth.example.com", "http"),
        ("https://auth.example.com", None),
    ],
)
def test_a_realm_that_clients_refuse_is_warned_of(
    standing: Commands, monkeypatch: pytest.MonkeyPatch, url: str, doubt: str | None
) -> None:
    monkeypatch.setitem(standing.env, "AUTHSERVER_PUBLIC_URL", url)
    assert section(standing("registry", "config", SERVICE))["realm"] == f"{url}/token"
    warnings = [w for w in standing.err.splitlines() if w.startswith("Warning: the realm")]
    assert bool(warnings) == bool(doubt)
    assert all(str(doubt) in warning for warning in warnings[:1])


# How a registry verifies.


def test_a_registry_with_a_key_of_its_own_has_its_section(run: Commands, tmp_path: Path) -> None:
    mode = ("--header-mode", "rfc7638", "--key-type", "rsa-2048")
    run("registry", "add", "other", *mode, "--registry-version", "3.1", "--trust", "both")
    options = section(run("registry", "config", "other", "--output-dir", tmp_path / "out"))
    assert options["signingalgorithms"] == ["RS256"]
    assert Path(str(options["rootcertbundle"])).read_text() == run("key", "bundle", "other")
    assert Path(str(options["jwks"])).read_text() == run("key", "jwks", "other")
    shown = run.json("registry", "show", "other")
    assert (shown["header_mode"], shown["version"], shown["trust"]) == ("rfc7638", "3.1", "both")


def test_a_jwks_is_all_that_a_registry_needs_that_trusts_it(run: Commands) -> None:
    run("registry", "add", "other", "--header-mode", "libtrust", "--trust", "jwks")
    options = section(run("registry", "config", "other", "--registry-version", "3"))
    assert "rootcertbundle" not in options
    assert options["jwks"] == "/etc/docker/registry/authserver-jwks.json"
    assert "authserver key jwks other > /etc/docker" in run.err
    given = section(run("registry", "config", "other", "--jwks-path", "/jwks.json"))
    assert given["jwks"] == "/jwks.json"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--trust jwks", "only a JWKS refuses every token with x5c"),
        ("--header-mode rfc7638 --registry-version 2.8", "computes libtrust key ids"),
        ("--header-mode libtrust --registry-version 3.1", "computes RFC 7638 key ids"),
        ("--header-mode rfc7638 --registry-version 3.0", "issue 4683"),
        ("--key-type rsa-2048", "needs the header mode libtrust or rfc7638"),
    ],
)
def test_what_a_registry_would_refuse_is_refused_with_the_reason(
    standing: Commands, options: str, why: str
) -> None:
    standing("registry", "add", "other", *options.split(), status=1)
    assert why in standing.err
    if "--key-type" not in options:
        standing("registry", "edit", SERVICE, *options.split(), status=1)
        assert why in standing.err


def test_another_header_mode_waits_until_the_registry_knows_its_key(run: Commands) -> None:
    run("registry", "edit", SERVICE, "--header-mode", "rfc7638")
    assert f"key rotate --registry {SERVICE}" in run.err
    shown = run.json("registry", "show", SERVICE)
    assert (shown["header_mode"], shown["own_key"], shown["waiting_key"]) == ("rfc7638", None, 2)
    assert "rfc7638 (waits)" in run("registry", "list")
    run("key", "rotate", "--registry", SERVICE, "--yes")
    shown = run.json("registry", "show", SERVICE)
    assert (shown["header_mode"], shown["own_key"], shown["waiting_key"]) == ("rfc7638", 2, None)
    run("registry", "edit", SERVICE, "--header-mode", "libtrust", status=2)
    assert run.err.rstrip().endswith(" --yes")
    run("registry", "edit", SERVICE, "--header-mode", "libtrust", "--yes")
    assert run.json("registry", "show", SERVICE)["header_mode"] == "libtrust"
    run("registry", "edit", SERVICE, "--header-mode", "x5c", "--yes")
    shown = run.json("registry", "show", SERVICE)
    assert (shown["header_mode"], shown["own_key"]) == ("x5c", None)


def test_the_url_is_kept_as_scheme_host_and_port(run: Commands) -> None:
    run("registry", "add", "other", "--url", "https://hub.example.com:5000/v2/")
    assert run.json("registry", "show", "other")["url"] == "https://hub.example.com:5000"
    run("registry", "edit", "other", "--trust", "both")
    assert run.json("registry", "show", "other")["url"] == "https://hub.example.com:5000"
    run("registry", "edit", "other", "--url", "")
    assert run.json("registry", "show", "other")["url"] is None


@pytest.mark.parametrize("url", ["hub.example.com", "ftp://hub", "https://u:p@hub", "https://h:x"])
def test_what_is_no_url_is_refused(standing: Commands, url: str) -> None:
    standing("registry", "edit", SERVICE, "--url", url, status=1)
    standing("registry", "add", "other", "--url", url, status=1)


def test_a_key_type_alone_is_wrong_usage(standing: Commands) -> None:
    standing("registry", "edit", SERVICE, "--key-type", "p-256", status=2)


def test_a_registry_may_take_app_tokens_only(run: Commands) -> None:
    run("registry", "add", "r2", "--app-tokens-only")
    assert run.json("registry", "show", "r2")["app_tokens_only"] is True
    assert "app tokens only" in run("registry", "show", "r2")
    run("registry", "edit", "r2", "--passwords")
    assert run.json("registry", "show", "r2")["app_tokens_only"] is False
    run("registry", "edit", "r2", "--app-tokens-only")
    run("registry", "edit", "r2", "--token-ttl", "600")
    assert run.json("registry", "show", "r2")["app_tokens_only"] is True
