"""Broken set-ups of real registries, and whether `registry check` names what is wrong."""

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from authserver.db.store import open_store
from authserver.keys import authorities
from authserver.keys.private_keys import Safe
from authserver.registry.doctor import expected
from authserver.registry.doctor.examination import Options, examine
from authserver.runtime.settings import Settings
from tests import odd_tokens
from tests.e2e.fetching import fetch
from tests.e2e.lab import ADMIN, PASSWORD, installation
from tests.e2e.pairing import Pairing, certificate, proxied
from tests.programs import Authserver, clean_environ, free_port, require, running
from tests.world import basic, trail_in

pytestmark = pytest.mark.e2e

V2, V3_0, V3_1 = "docker-registry", "registry-3.0.0", "registry-3.1.1"
PUSHER = ("pusher", PASSWORD)
EVERY = pytest.mark.parametrize("program", [V2, V3_0, V3_1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairing]:
    place = tmp_path_factory.mktemp("doctor")
    port = free_port()
    authserver = installation(place / "data", port)
    authserver.env["AUTHSERVER_PORT"] = str(port)
    authserver.run("user", "add", "reader", "--password-stdin", stdin=f"{PASSWORD}\n")
    authserver.run("acl", "allow", "user:reader", "team/**", "pull")
    authserver.run("user", "add", "pusher", "--password-stdin", stdin=f"{PASSWORD}\n")
    authserver.run("acl", "allow", "user:pusher", "team/**", "pull,push")
    trust = str(place / "trust")
    printed = authserver.run("registry", "config", "registry", "--output-dir", trust).stdout
    section = dict(re.findall(r"^    (\w+): (.*)$", printed, re.MULTILINE))
    with authserver.serving(port, "--workers", "1"):
        yield Pairing(authserver, place, {name: json.loads(text) for name, text in section.items()})


@pytest.fixture
def pairing(served: Pairing, tmp_path: Path) -> Pairing:
    """The installation, with a place of its own for one registry."""
    return dataclasses.replace(served, place=tmp_path)


@pytest.fixture(params=[V2, V3_1])
def program(request: pytest.FixtureRequest) -> str:
    require(request.param)
    return str(request.param)


@pytest.fixture
def other(tmp_path: Path) -> Authserver:
    """Another installation, with an authority of its own."""
    return installation(tmp_path / "other", free_port())


def walk(account: str) -> tuple[str, ...]:
    return ("--repository", "team/app", "--account", account, "--password-stdin")


def bundle_of(authserver: Authserver, path: Path) -> str:
    path.write_text(authserver.run("key", "bundle").stdout)
    return str(path)


# Nothing is wrong


@EVERY
def test_a_good_registry_passes_every_check_and_is_left_as_it_was(
    pairing: Pairing, program: str
) -> None:
    steps = walk(ADMIN[0])
    with pairing.registry(program, {"token": pairing.options()}) as url:
        found = pairing.check(url, *pairing.walked, *steps, stdin=f"{ADMIN[1]}\n")
    assert (found.status, found.failed) == (0, {})
    assert {finding["status"] for finding in found.report["findings"]} == {"passed"}
    version, modes = {
        V2: ("2.8", ["x5c", "libtrust"]),
        V3_0: ("3.0", ["x5c"]),
        V3_1: ("3.1", ["x5c", "rfc7638"]),
    }[program]
    assert found.report["version"] == version
    assert found.report["header_modes"] == modes
    assert found.report["authorities"] == [1]
    entry = pairing.authserver.run("registry", "show", "registry", "--json").stdout
    assert json.loads(entry)["confirmed_authority"] == 1
    assert not pairing.stored()


def test_the_api_examines_the_registry_of_the_entry_and_notes_what_it_trusts(
    pairing: Pairing, program: str
) -> None:
    api = pairing.section["realm"].removesuffix("/token") + "/api/v1/checks"
    head = {"Authorization": basic(*ADMIN), "Content-Type": "application/json"}
    with pairing.registry(program, {"token": pairing.options()}) as url:
        pairing.authserver.run("registry", "edit", "registry", "--url", url)
        answer = fetch(api, "POST", headers=head, body=b'{"registry": "registry"}')
        elsewhere = pairing.check(url.replace("localhost", "127.0.0.1"))
    pairing.authserver.run("registry", "edit", "registry", "--url", "")
    assert (answer.status, answer.json()["healthy"]) == (200, True), answer.body
    assert (answer.json()["url"], answer.json()["authorities"]) == (url, [1])
    assert elsewhere.failed == {}


# Our own server


def test_a_proxy_before_our_server_that_it_does_not_heed(tmp_path: Path) -> None:
    require("registry-3.1.1", "nginx")
    port = free_port()
    ours = installation(tmp_path / "data", port)
    ours.env["AUTHSERVER_PORT"] = str(port)
    trust = str(tmp_path / "trust")
    printed = ours.run("registry", "config", "registry", "--output-dir", trust).stdout
    section = dict(re.findall(r"^    (\w+): (.*)$", printed, re.MULTILINE))
    pairing = Pairing(ours, tmp_path, {name: json.loads(text) for name, text in section.items()})
    names = "proxy_set_header X-Forwarded-For $remote_addr;"
    with (
        ours.serving(port, "--workers", "2"),
        proxied(tmp_path, f"http://localhost:{port}", names) as front,
        pairing.registry(V3_1, {"token": pairing.options(realm=f"{front}/token")}) as url,
    ):
        pairing.authserver.env["AUTHSERVER_PUBLIC_URL"] = front
        found = pairing.check(url)
        api = f"http://127.0.0.1:{port}/api/v1/checks"
        head = {"Authorization": basic(*ADMIN), "Content-Type": "application/json"}
        ours.run("registry", "edit", "registry", "--url", url)
        asked = fetch(api, "POST", headers=head, body=b'{"registry": "registry"}').json()
    assert found.failed.keys() == {"serve.proxies"}
    assert "AUTHSERVER_TRUSTED_PROXIES" in found.failed["serve.proxies"]
    assert "lock out all" in found.failed["serve.proxies"]
    assert [it["check"] for it in asked["findings"] if it["status"] == "failed"] == [
        "challenge.realm",
        "serve.proxies",
    ]


def test_a_public_url_that_clients_cannot_use(pairing: Pairing, program: str) -> None:
    token = pairing.section["realm"]
    with pairing.registry(program, {"token": pairing.options(realm=f"{token}/token")}) as url:
        ended = pairing.check(url, AUTHSERVER_PUBLIC_URL=token)
        elsewhere = pairing.check("http://registry.invalid", AUTHSERVER_HOST="0.0.0.0")
        here = pairing.check(url, AUTHSERVER_HOST="0.0.0.0")
    assert "ends in /token" in ended.failed["serve.url"]
    assert token.removesuffix("/token") in ended.failed["serve.url"]
    assert "listens on every address" in elsewhere.failed["serve.url"]
    assert here.failed.keys() == {"challenge.realm", "serve.url"}


def test_a_section_from_the_environment(tmp_path: Path, pairing: Pairing, program: str) -> None:
    require(program)
    port = free_port()
    config = pairing.config(None, port)
    options = pairing.options()
    section = {f"REGISTRY_AUTH_TOKEN_{name.upper()}": value for name, value in options.items()}
    environ = {"REGISTRY_AUTH": "token"} | {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in section.items()
    }
    file = tmp_path / "inspected.json"
    whole = clean_environ(**environ)
    listed = [f"{name}={value}" for name, value in whole.items()]
    file.write_text(json.dumps([{"Config": {"Env": listed}}]))
    wrong = tmp_path / "wrong.env"
    wrong.write_text("\n".join([*listed, "REGISTRY_AUTH_TOKEN_SERVICE=other", ""]))
    command = [program, "serve", str(config)]
    with running(command, f"http://127.0.0.1:{port}/v2/", tmp_path / "registry.log", whole):
        url = f"http://localhost:{port}"
        without = pairing.check(url, "--config", config)
        found = pairing.check(url, "--config", config, "--env-file", file)
        alone = pairing.check(url, "--env-file", file)
        other = pairing.check(url, "--env-file", wrong)
    assert (without.status, without.of("config.file")) == (0, "not tried")
    (finding,) = [it for it in without.report["findings"] if it["check"] == "config.file"]
    assert "REGISTRY_AUTH_TOKEN_" in finding["why"]
    assert "--env-file" in finding["cure"]
    for right in (found, alone):
        assert (right.status, right.failed) == (0, {})
        assert right.of("config.service") == right.of("config.bundle") == "passed"
    assert other.failed.keys() == {"config.service"}


def test_after_a_failure_of_tls_nothing_is_said_of_tokens(
    pairing: Pairing, program: str, tmp_path: Path
) -> None:
    tls = certificate(tmp_path)
    with pairing.registry(program, {"token": pairing.options()}, tls=tls) as url:
        untrusted = pairing.check(url)
        plain = pairing.check(url.replace("https:", "http:"))
    for found, check in ((untrusted, "registry.reachable"), (plain, "registry.challenge")):
        assert check in found.failed
        (token,) = [it for it in found.report["findings"] if it["check"] == "token"]
        assert token["status"] == "not tried"
        assert token["why"] == f"it was not seen to ask for one: see {check}"


# 1 to 5: the token section


@EVERY
def test_another_service(pairing: Pairing, program: str) -> None:
    with pairing.registry(program, {"token": pairing.options(service="Registry")}) as url:
        found = pairing.check(url)
    assert found.failed.keys() == {"challenge.service", "token"}
    assert "case" in found.failed["challenge.service"]
    assert 'set `service: "registry"`' in found.failed["token"]


def test_an_issuer_that_was_copied_from_documentation(pairing: Pairing, program: str) -> None:
    options = pairing.options(issuer="registry-token-issuer")
    with pairing.registry(program, {"token": options}) as url:
        found = pairing.check(url)
    assert found.failed.keys() == {"token"}
    assert 'its issuer is "registry-token-issuer", and ours "authserver"' in found.failed["token"]


def test_an_issuer_that_is_not_guessed(pairing: Pairing) -> None:
    require(V2)
    with pairing.registry(V2, {"token": pairing.options(issuer="kx7")}) as url:
        blind, found = pairing.check(url), pairing.check(url, *pairing.walked)
    assert blind.failed.keys() == {"token"}
    assert 'its issuer is not "authserver"' in blind.failed["token"]
    assert found.failed.keys() == {"config.issuer", "token"}
    assert 'it is "kx7"' in found.failed["config.issuer"]


def test_service_issuer_and_the_rest_wrong_at_once(pairing: Pairing, program: str) -> None:
    options = pairing.options(issuer="Acme auth server", service="Docker registry")
    with pairing.registry(program, {"token": options}) as url:
        found = pairing.check(url)
    assert 'its service is "Docker registry"' in found.failed["token"]
    assert 'its issuer is "Acme auth server"' in found.failed["token"]


def test_the_realm_of_another_installation(pairing: Pairing, other: Authserver) -> None:
    require(V3_1)
    port = free_port()
    realm = f"http://localhost:{port}/token"
    with (
        other.serving(port, "--workers", "1"),
        pairing.registry(V3_1, {"token": pairing.options(realm=realm)}) as url,
    ):
        found = pairing.check(url, *pairing.walked)
    assert found.failed.keys() == {"challenge.realm", "config.realm"}
    assert "another installation" in found.failed["challenge.realm"]


def test_another_name_of_our_realm_is_good(pairing: Pairing) -> None:
    require(V2)
    realm = pairing.section["realm"].replace("localhost:", "LOCALHOST:")
    with pairing.registry(V2, {"token": pairing.options(realm=realm)}) as url:
        found = pairing.check(url, *pairing.walked)
    assert found.failed == {}


# 6 to 10: bundle and keys


@EVERY
def test_the_bundle_of_another_installation(
    pairing: Pairing, other: Authserver, program: str
) -> None:
    bundle = bundle_of(other, pairing.place / "bundle.pem")
    with pairing.registry(program, {"token": pairing.options(rootcertbundle=bundle)}) as url:
        blind, found = pairing.check(url), pairing.check(url, *pairing.walked)
    assert blind.failed.keys() == {"token"}
    assert "does not hold our authority" in blind.failed["token"]
    assert found.failed.keys() == {"config.bundle", "config.bundle.foreign", "token"}
    assert f"authserver key bundle > {bundle}" in found.failed["config.bundle"]
    assert found.report["absent_authorities"] == []


def test_a_registry_that_was_not_restarted(pairing: Pairing, other: Authserver) -> None:
    require(V3_1)
    bundle = bundle_of(other, pairing.place / "bundle.pem")
    with pairing.registry(V3_1, {"token": pairing.options(rootcertbundle=bundle)}) as url:
        bundle_of(pairing.authserver, pairing.place / "bundle.pem")
        found = pairing.check(url, *pairing.walked)
    assert found.failed.keys() == {"token"}
    assert "restart it" in found.failed["token"]


@EVERY
def test_the_bundle_from_before_a_new_authority(
    pairing: Pairing, tmp_path: Path, program: str
) -> None:
    renewed = Authserver(tmp_path / "renewed", pairing.authserver.env)
    shutil.copytree(pairing.authserver.data_dir, renewed.data_dir)
    new_authority(renewed.data_dir)
    with pairing.registry(program, {"token": pairing.options()}) as url:
        found = dataclasses.replace(pairing, authserver=renewed).check(url)
    assert (
        "it holds authority 1 and not authority 2".replace("it ", "its bundle ")
        in (found.failed["token"])
    )
    assert found.report["authorities"] == [1]
    assert found.report["absent_authorities"] == [2]


def new_authority(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir)
    store = open_store(settings.store_url, lambda: datetime.now(UTC), trail=trail_in(settings))
    with store.change("test") as change:
        safe = Safe.of(change.session, settings.master_key_path, None)
        authorities.add(change, safe, "authserver")
        authorities.activate(change, safe, force=True)
    store.engine.dispose()


def test_a_foreign_authority_in_the_bundle(
    pairing: Pairing, other: Authserver, program: str
) -> None:
    bundle = pairing.place / "bundle.pem"
    bundle.write_text(
        other.run("key", "bundle").stdout + pairing.authserver.run("key", "bundle").stdout
    )
    options = pairing.options(rootcertbundle=str(bundle))
    with pairing.registry(program, {"token": options}) as url:
        found = pairing.check(url, *pairing.walked)
    assert found.failed.keys() == {"config.bundle.foreign"}
    assert "can make tokens" in found.failed["config.bundle.foreign"]
    assert found.of("token") == "passed"


@pytest.mark.parametrize("program", [V3_0, V3_1])
def test_a_jwks_in_the_place_of_the_bundle(pairing: Pairing, program: str) -> None:
    require(program)
    jwks = pairing.place / "jwks.json"
    jwks.write_text(json.dumps(odd_tokens.Keys().jwks()))
    options = pairing.options(rootcertbundle=None, jwks=str(jwks))
    with pairing.registry(program, {"token": options}) as url:
        found = pairing.check(url, *pairing.walked)
    assert found.failed.keys() == {"config.bundle", "config.jwks.foreign", "token"}
    assert "x5c" in found.failed["config.bundle"]


@pytest.mark.parametrize("program", [V3_0, V3_1])
def test_our_algorithm_is_not_listed(pairing: Pairing, program: str) -> None:
    require(program)
    options = pairing.options(signingalgorithms=["RS256"])
    with pairing.registry(program, {"token": options}) as url:
        found = pairing.check(url, *pairing.walked)
    assert found.failed.keys() == {"config.signingalgorithms", "token"}
    assert "ES256" in found.failed["config.signingalgorithms"]


# 11 to 14: registries that do not start with their configuration


@pytest.mark.parametrize(
    ("options", "check", "why"),
    [
        ({"service": 5000}, "config.service", "quote it"),
        ({"issuer": None}, "config.issuer", "has no issuer"),
        ({"rootcertbundle": None}, "config.bundle", "neither rootcertbundle nor jwks"),
        ({"rootcertbundle": "/dev/null"}, "config.bundle", "not on this machine"),
        ({"signingalgorithms": ["es256"]}, "config.signingalgorithms", "does not start"),
    ],
    ids=["service", "issuer", "bundle", "no file", "algorithm"],
)
def test_a_configuration_that_no_registry_starts_with(
    pairing: Pairing, options: dict[str, object], check: str, why: str
) -> None:
    pairing.config({"token": pairing.options(**options)})
    found = pairing.check(f"http://localhost:{free_port()}", *pairing.walked)
    assert "nothing listens" in found.failed["registry.reachable"]
    whole = {f["check"]: f["why"] + f["cure"] for f in found.report["findings"] if f["cure"]}
    assert why in whole[check]


def test_an_ed25519_certificate_that_2_8_does_not_start_with(pairing: Pairing) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    pem = odd_tokens.make_certificate(private, "edwards").public_bytes(Encoding.PEM)
    bundle = pairing.place / "bundle.pem"
    bundle.write_bytes(pem + pairing.authserver.run("key", "bundle").stdout.encode())
    pairing.config({"token": pairing.options(rootcertbundle=str(bundle))})
    found = pairing.check(f"http://localhost:{free_port()}", *pairing.walked)
    assert "2.8 does not start" in found.failed["config.bundle.versions"]


def test_two_auth_sections(pairing: Pairing) -> None:
    pairing.config({"token": pairing.options(), "htpasswd": {"realm": "x", "path": "/x"}})
    found = pairing.check(f"http://localhost:{free_port()}", *pairing.walked)
    assert "htpasswd beside token" in found.failed["config.file"]


# 15 to 18: no token is asked for


def test_a_registry_that_is_open_to_everybody(pairing: Pairing, program: str) -> None:
    with pairing.registry(program, None) as url:
        found = pairing.check(url, *pairing.walked)
    assert found.failed.keys() == {"registry.challenge", "config.file"}
    assert "everybody may do everything" in found.failed["registry.challenge"]


def test_a_registry_with_htpasswd(pairing: Pairing) -> None:
    require(V2)
    (pairing.place / "htpasswd").write_text(
        "a:$2y$05$nZ9UGownXcGDnHew4iQX7uYyK8eAtcckTpBPVODi0lB9Ol\n"
    )
    auth = {"htpasswd": {"realm": "x", "path": str(pairing.place / "htpasswd")}}
    with pairing.registry(V2, auth) as url:
        found = pairing.check(url)
    assert found.failed.keys() == {"registry.challenge"}
    assert "Basic" in found.failed["registry.challenge"]


def test_a_server_that_is_not_a_registry(pairing: Pairing) -> None:
    found = pairing.check(pairing.section["realm"].removesuffix("/token"))
    assert found.failed.keys() == {"registry.challenge"}
    assert "no registry API" in found.failed["registry.challenge"]


# 19 to 22: TLS and the realm that clients must accept


def test_tls(pairing: Pairing) -> None:
    require(V3_1, "openssl")
    cert, key = certificate(pairing.place)
    auth = {"token": pairing.options()}
    with pairing.registry(V3_1, auth, tls=(cert, key)) as url:
        strange = pairing.check(url)
        trusted = pairing.check(url, "--ca-file", cert, *pairing.walked)
        plain = pairing.check(url.replace("https", "http"))
    assert strange.failed.keys() == {"registry.reachable"}
    assert "--ca-file" in strange.failed["registry.reachable"]
    assert trusted.failed.keys() == {"realm.https", "config.realm"}
    assert "AUTHSERVER_PUBLIC_URL" in trusted.failed["realm.https"]
    assert plain.failed.keys() == {"registry.challenge"}
    assert "write https://" in plain.failed["registry.challenge"]


def test_https_where_there_is_no_tls(pairing: Pairing) -> None:
    require(V2)
    with pairing.registry(V2, {"token": pairing.options()}) as url:
        found = pairing.check(url.replace("http", "https"))
    assert "does not speak TLS" in found.failed["registry.reachable"]


def test_an_address_as_realm(pairing: Pairing) -> None:
    require(V2)
    realm = pairing.section["realm"].replace("localhost", "127.0.0.1")
    with pairing.registry(V2, {"token": pairing.options(realm=realm)}) as url:
        found = pairing.check(url)
    assert found.failed.keys() == {"realm.address"}
    assert "crane and oras" in found.failed["realm.address"]


def test_a_realm_that_cannot_be_reached(pairing: Pairing) -> None:
    require(V2)
    public = f"http://localhost:{free_port()}"
    with pairing.registry(V2, {"token": pairing.options(realm=f"{public}/token")}) as url:
        found = pairing.check(url, AUTHSERVER_PUBLIC_URL=public)
    assert found.failed.keys() == {"realm.answers"}
    assert "nothing listens" in found.failed["realm.answers"]


# 23 to 25: proxies


def test_a_proxy_that_takes_the_authorization_away(pairing: Pairing) -> None:
    require(V3_1, "nginx")
    with (
        pairing.registry(V3_1, {"token": pairing.options()}) as url,
        proxied(pairing.place, url, 'proxy_set_header Authorization "";') as front,
    ):
        found = pairing.check(front)
    assert found.failed.keys() == {"token"}
    assert "Authorization" in found.failed["token"]


def test_a_proxy_that_takes_the_challenge_away(pairing: Pairing) -> None:
    require(V2, "nginx")
    with (
        pairing.registry(V2, {"token": pairing.options()}) as url,
        proxied(pairing.place, url, "proxy_hide_header WWW-Authenticate;") as front,
    ):
        found = pairing.check(front)
    assert found.failed.keys() == {"registry.challenge"}
    assert "WWW-Authenticate" in found.failed["registry.challenge"]


def test_a_proxy_that_hides_its_own_name(pairing: Pairing, program: str) -> None:
    require("nginx", "skopeo")
    http = {"relativeurls": False}
    with (
        pairing.registry(program, {"token": pairing.options()}, http=http) as url,
        proxied(pairing.place, url) as front,
    ):
        pairing.push(url, "team/app:1", PUSHER)
        before = pairing.stored()
        direct, found = (pairing.check(at, *walk(PUSHER[0]), stdin=PASSWORD) for at in (url, front))
    assert direct.failed == {}
    assert found.failed.keys() == {"walk.push"}
    assert "relativeurls" in found.failed["walk.push"]
    assert pairing.stored() == before


# 26: clocks


@pytest.mark.parametrize("minutes", [-10, 10, -4 * 24 * 60])
def test_clocks_that_differ(pairing: Pairing, program: str, minutes: int) -> None:
    """It is our clock that is wrong here; the registry cannot tell."""
    settings = Settings(data_dir=pairing.authserver.data_dir)
    store = open_store(settings.store_url, lambda: datetime.now(UTC))
    with store.read() as session:
        made = expected.load(
            session,
            Safe.of(session, settings.master_key_path, None),
            "registry",
            pairing.section["realm"],
            lambda: datetime.now(UTC) + timedelta(minutes=minutes),
        )
    store.engine.dispose()
    with pairing.registry(program, {"token": pairing.options()}) as url:
        report = examine(made, url, Options())
    failed = {f.check: f.why for f in report.findings if f.status == "failed"}
    assert failed.keys() >= {"clock", "token"}
    assert ("ahead of" if minutes < 0 else "behind") in failed["clock"]
    assert "clock" in failed["token"]


# 27 to 30: the walk


def test_a_registry_that_deletes_nothing(pairing: Pairing, program: str) -> None:
    steps = walk(ADMIN[0])
    with pairing.registry(program, {"token": pairing.options()}, delete=False) as url:
        found = pairing.check(url, *steps, stdin=f"{ADMIN[1]}\n")
    assert found.failed.keys() == {"walk.delete"}
    assert "enabled: true" in found.failed["walk.delete"]


def test_an_account_without_a_rule(pairing: Pairing) -> None:
    require(V2)
    with pairing.registry(V2, {"token": pairing.options()}) as url:
        found = pairing.check(url, "--repository", "other/app")
    assert found.failed.keys() == {"walk.pull"}
    assert "acl explain anonymous repository:other/app:pull" in found.failed["walk.pull"]


def test_what_the_rules_do_not_grant_is_not_tried(pairing: Pairing, program: str) -> None:
    steps = walk("reader")
    with pairing.registry(program, {"token": pairing.options()}) as url:
        found = pairing.check(url, *steps, stdin=f"{PASSWORD}\n")
    assert (found.status, found.of("walk.pull")) == (0, "passed")
    assert [found.of(f"walk.{step}") for step in ("push", "delete", "catalog")] == ["not tried"] * 3


def test_a_push_to_an_empty_repository_leaves_nothing(pairing: Pairing, program: str) -> None:
    steps = walk("pusher")
    with pairing.registry(program, {"token": pairing.options()}) as url:
        found = pairing.check(url, *steps, stdin=f"{PASSWORD}\n")
    assert (found.status, found.of("walk.push")) == (0, "passed")
    assert not pairing.stored()


def test_a_wrong_password(pairing: Pairing) -> None:
    require(V2)
    steps = walk("reader")
    with pairing.registry(V2, {"token": pairing.options()}) as url:
        found = pairing.check(url, *steps, stdin="wrong\n")
    assert "incorrect user name or password" in found.failed["walk.pull"]
