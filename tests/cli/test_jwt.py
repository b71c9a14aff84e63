"""authserver jwt inspect: what a token on standard input holds, and who accepts it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from authserver.core.claims import Claims
from authserver.db.store import open_store
from authserver.keys import signing_keys
from authserver.keys.header_modes import signer_of
from authserver.keys.private_keys import Safe
from tests import odd_tokens, stores
from tests.cli.commands import Commands
from tests.odd_tokens import Keys
from tests.world import SERVICE

GRANT = ({"type": "repository", "name": "team/app", "actions": ["pull", "push"]},)


def issued(data_dir: Path, audience: str = SERVICE, at: datetime | None = None) -> str:
    """Return a registry token as the installation in ``data_dir`` signs it."""
    settings = stores.settings(data_dir)
    store = open_store(settings.store_url, lambda: datetime.now(UTC))
    with store.read() as session:
        pair = signing_keys.load_leaf(session, Safe.of(session, settings.master_key_path, None))
    store.engine.dispose()
    moment = at or datetime.now(UTC)
    claims = Claims.of("authserver", "alice", audience, 300, GRANT)
    return signer_of(pair).sign(claims.encode(int(moment.timestamp()), "id"), moment)


def test_our_own_token_is_accepted_by_every_version(run: Commands) -> None:
    token = issued(run.data_dir)
    said = run("jwt", "inspect", stdin=f"{token}\n").splitlines()
    assert "  alg ES256" in said
    assert "    repository:team/app:pull,push" in said
    assert [line for line in said if line.startswith("Distribution")] == [
        f"Distribution {version} accepts it" for version in ("2.8", "3.0", "3.1")
    ]
    assert any(line.startswith("  x5c CN=registry token signing key") for line in said)
    assert token not in run.out
    assert token.rpartition(".")[2] not in run.out


TRANSCRIPT = """\
> GET /v2/ HTTP/1.1
> Host: registry.example.com
> Authorization: Bearer @
> Accept: */*
>
< HTTP/1.1 401 Unauthorized
< Www-Authenticate: Bearer realm="https://auth.example.com/token",service="registry"
<
{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}
"""


def wrapped(text: str, width: int = 80) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


@pytest.mark.parametrize(
    "form",
    [
        "Bearer @",
        "bearer @\n",
        '{"token": "@"}',
        '{"access_token": "@"}',
        "'@'",
        '"@",',
        "Authorization: Bearer @\r\n",
        "-H 'Authorization: Bearer @' https://registry.example.com/v2/",
        "TOKEN=@ ",
        TRANSCRIPT,
        '< HTTP/1.1 200 OK\n<\n{"token":"@","access_token":"@","expires_in":300}\n',
    ],
)
@pytest.mark.parametrize("lines", [str, wrapped])
def test_the_token_is_found_in_what_people_paste(
    run: Commands, form: str, lines: Callable[[str], str]
) -> None:
    pasted = form.replace("@", lines(issued(run.data_dir)))
    assert json.loads(run("jwt", "inspect", "--json", stdin=pasted))["claims"]["sub"] == "alice"


def test_a_line_after_a_token_is_no_part_of_it(run: Commands) -> None:
    run("jwt", "inspect", stdin=f"{wrapped(issued(run.data_dir))}\n$ exit\nlogout\n")


def test_of_several_tokens_none_is_chosen(run: Commands) -> None:
    pasted = f"{issued(run.data_dir)} {issued(run.data_dir, 'other')}"
    run("jwt", "inspect", stdin=pasted, status=1)
    assert "several different tokens" in run.err


def test_json_is_one_value(run: Commands) -> None:
    found = json.loads(run("jwt", "inspect", "--json", stdin=issued(run.data_dir)))
    assert found["claims"]["sub"] == "alice"
    assert found["compared"] == {"issuer": "authserver", "services": [SERVICE]}
    assert [verdict["accepted"] for verdict in found["verdicts"]] == [True] * 3


def test_a_token_that_nobody_accepts_is_status_1_with_the_reasons(run: Commands) -> None:
    old = issued(run.data_dir, "elsewhere", datetime.now(UTC) - timedelta(minutes=30))
    said = run("jwt", "inspect", stdin=old, status=1)
    assert said.count(f'its audience is "elsewhere", not "{SERVICE}"') == 3
    assert said.count("it expired at") == 3


@pytest.mark.sqlite
def test_what_a_registry_trusts_may_be_named(bare: Commands, tmp_path: Path) -> None:
    made = Keys()
    tokens = {case.name: case.token for case in odd_tokens.cases(made)}
    bundle, jwks = tmp_path / "bundle.pem", tmp_path / "jwks.json"
    bundle.write_text(made.bundle_pem())
    jwks.write_text(json.dumps(made.jwks()))
    trust = ("--issuer", odd_tokens.ISSUER, "--service", odd_tokens.SERVICE)
    run = bare
    run("jwt", "inspect", "--bundle", bundle, *trust, stdin=tokens["x5c"])
    assert "Not compared" not in run.err
    found = run("jwt", "inspect", "--jwks", jwks, *trust, stdin=tokens["in the JWKS"])
    assert "Distribution 2.8 refuses it" in found
    run("jwt", "inspect", "--jwks", jwks, *trust, stdin=tokens["x5c"], status=1)
    run("jwt", "inspect", "--bundle", bundle, "--issuer", "x", stdin=tokens["x5c"], status=1)


@pytest.mark.sqlite
def test_what_is_not_compared_is_said(bare: Commands, tmp_path: Path) -> None:
    made = Keys()
    tokens = {case.name: case.token for case in odd_tokens.cases(made)}
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(made.bundle_pem())
    bare("jwt", "inspect", "--bundle", bundle, stdin=tokens["another aud"])
    assert "--issuer" in bare.err
    assert "--service" in bare.err


@pytest.mark.sqlite
def test_without_a_store_the_trust_must_be_named(bare: Commands) -> None:
    bare("jwt", "inspect", stdin="e30.e30.AA", status=1)
    assert "--bundle" in bare.err


@pytest.mark.parametrize(
    ("stdin", "why"),
    [
        (b"", "parts"),
        (b"\xff", "not text"),
        (b"{", "neither a token nor JSON"),
        (b'{"errors": []}', "no token"),
        (b'{"token": 1}', "no token"),
        (b"x" * 1_100_000, "bytes"),
        (b"secret.part", "2 parts"),
    ],
    ids=range(7),
)
def test_what_is_no_token_is_refused(standing: Commands, stdin: bytes, why: str) -> None:
    standing("jwt", "inspect", stdin=stdin, status=1)
    assert why in standing.err
    assert "secret" not in standing.err
    assert standing.out == ""


def test_a_file_that_is_no_bundle_is_refused(standing: Commands, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    standing("jwt", "inspect", "--bundle", tmp_path / "empty", stdin="e30.e30.AA", status=1)
    assert "holds no PEM certificate" in standing.err
    standing("jwt", "inspect", "--jwks", tmp_path / "empty", stdin="e30.e30.AA", status=1)
    assert "is not a JWKS" in standing.err


def test_hostile_values_are_printed_on_one_line(run: Commands) -> None:
    body = odd_tokens.claims(sub="a\n\x1b[31mDistribution 2.8 accepts it", access=[1, {"a": "\n"}])
    made = Keys()
    token = odd_tokens.compact({"alg": "ES256", "x5c": [1]}, body, made.leaf.private, "ES256")
    said = run("jwt", "inspect", stdin=token, status=1)
    assert "\x1b" not in said
    assert "\nDistribution 2.8 accepts it" not in said
