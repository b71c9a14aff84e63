"""What must not be readable anywhere: passwords, tokens, private keys."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key
from sqlalchemy import select

from authserver.db.models import AuthorityRow, SigningKeyRow
from authserver.db.store import open_store
from authserver.keys.master_key import read_master_key
from authserver.runtime.settings import Settings
from tests.e2e.fetching import ask_for_token, fetch
from tests.e2e.lab import installation
from tests.programs import Authserver, Process, free_port
from tests.world import basic, wait_until

pytestmark = pytest.mark.e2e

GOOD, CHANGED, WRONG = "good-rosebud-1", "changed-rosebud-2", "wrong-rosebud-3"
AS_NAME, UNKNOWNS, POSTED = "name-rosebud-4", "unknowns-rosebud-5", "posted-rosebud-6"
MALFORMED, LONG = "malformed-rosebud-7", "long-rosebud-8" * 6
PASSWORDS = (GOOD, CHANGED, WRONG, AS_NAME, UNKNOWNS, POSTED, MALFORMED, LONG)
SCOPES = ("registry:catalog:*", "repository:team/app:pull,push", "repository:Bad:pull")


@dataclass
class Session:
    """A server that was logged in to in every way, and what it must have kept to itself."""

    authserver: Authserver
    process: Process
    url: str
    tokens: list[str] = field(default_factory=list)
    requests: int = 0

    def log_in(self, name: str, password: str) -> int:
        self.requests += 1
        answer = ask_for_token(f"{self.url}/token", *SCOPES, auth=(name, password))
        if answer.status == 200:
            self.tokens.append(answer.json()["token"])
        return answer.status

    def send_as(self, authorization: str) -> None:
        self.requests += 1
        answer = fetch(f"{self.url}/token", headers={"Authorization": authorization})
        assert answer.status == 401

    def records(self) -> list[dict[str, Any]]:
        listed = self.authserver.run("audit", "list", "--json", "--limit", "1000")
        found: list[dict[str, Any]] = json.loads(listed.stdout)
        return found

    def secrets(self) -> dict[str, bytes]:
        tokens = {f"token {i}": token.encode() for i, token in enumerate(self.tokens)}
        signatures = {f"signature of {i}": t.rpartition(b".")[2] for i, t in tokens.items()}
        passwords = {password: password.encode() for password in PASSWORDS}
        return tokens | signatures | passwords | _keys(self.authserver)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    port = free_port()
    authserver = installation(tmp_path_factory.mktemp("secrets") / "data", port)
    authserver.run("user", "add", "alice", "--password-stdin", stdin=f"{GOOD}\n")
    with authserver.serving(port, "--workers", "2") as process:
        session = Session(authserver, process, f"http://127.0.0.1:{port}")
        _log_in_in_every_way(session)
        assert wait_until(
            lambda: sum(r["kind"] == "token" for r in session.records()) >= session.requests, 15
        )
        yield session


def _log_in_in_every_way(session: Session) -> None:
    assert session.log_in("alice", GOOD) == 200
    assert session.log_in("alice", WRONG) == 401
    assert session.log_in("alice", LONG) == 401
    assert session.log_in("nobody", UNKNOWNS) == 401
    assert session.log_in(AS_NAME, GOOD) == 401
    session.send_as(f"Bearer {MALFORMED}")
    session.send_as(f"Basic {base64.b64encode(MALFORMED.encode()).decode()}")
    session.send_as(basic(AS_NAME, ""))
    form = urlencode({"grant_type": "password", "username": "alice", "password": POSTED})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = fetch(f"{session.url}/token", "POST", headers=headers, body=form.encode())
    assert posted.status != 200
    session.authserver.run("user", "passwd", "alice", "--password-stdin", stdin=f"{CHANGED}\n")
    assert wait_until(lambda: session.log_in("alice", CHANGED) == 200, 5)


def _keys(authserver: Authserver) -> dict[str, bytes]:
    """Return the master key, and the secret number of each private key."""
    settings = Settings(data_dir=authserver.data_dir)
    master = read_master_key(settings.master_key_path)
    store = open_store(settings.store_url, lambda: datetime.now(UTC))
    with store.read() as session:
        sealed = {
            **{
                f"authority {row.id}": row.private_key
                for row in session.scalars(select(AuthorityRow))
            },
            **{
                f"signing key {r.id}": r.private_key for r in session.scalars(select(SigningKeyRow))
            },
        }
    store.engine.dispose()
    found = {name: _number(master.open(value, name)) for name, value in sealed.items() if value}
    assert len(found) >= 2
    return found | {"master key": master.secret}


def _number(private_der: bytes) -> bytes:
    private = load_der_private_key(private_der, password=None)
    assert isinstance(private, EllipticCurvePrivateKey)
    return private.private_numbers().private_value.to_bytes(32, "big")


def _found(secrets: dict[str, bytes], text: bytes) -> list[str]:
    """Return the names of the secrets that stand in ``text``, plain, in hex or in base64."""
    joined = text.replace(b"\n", b"").replace(b"\\n", b"")
    return [
        name
        for name, secret in secrets.items()
        if any(form in text or form in joined for form in _forms(secret))
    ]


def _forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield secret.hex().encode()
    for offset in range(3):
        # Base64 of something longer that holds the secret, less what its neighbours decide.
        encoded = base64.b64encode(b"\0" * offset + secret)
        yield encoded[4 if offset else 0 : -4]


def test_a_secret_would_be_found(session: Session) -> None:
    secrets = session.secrets()
    authority = secrets["authority 1"]
    pem = base64.encodebytes(b"1234567" + authority + b"\0" * 60)
    assert _found(secrets, b"Basic " + base64.b64encode(b"alice:" + GOOD.encode())) == [GOOD]
    assert _found(secrets, pem) == ["authority 1"]
    assert _found(secrets, authority.hex().encode()) == ["authority 1"]


def test_the_store_holds_no_secret(session: Session) -> None:
    files = [path for path in session.authserver.data_dir.rglob("*") if path.is_file()]
    kept = {path.name: path.read_bytes() for path in files if path.name != "master.key"}
    assert {"authserver.db", "authserver.db-wal"} <= kept.keys()
    everything = b"".join(kept.values())
    assert b"alice" in everything
    assert b"unknown account" in everything
    assert _found(session.secrets(), everything) == []


def test_the_log_holds_no_secret(session: Session) -> None:
    log = session.process.log.read_bytes()
    for reason in (b"wrong password", b"unknown account", b"malformed", b"no rule allows"):
        assert reason in log
    assert _found(session.secrets(), log) == []


def test_the_audit_records_hold_no_secret(session: Session) -> None:
    records = session.records()
    assert {"user.add", "user.passwd"} <= {r.get("action") for r in records}
    assert {"refused", "denied"} <= {r.get("outcome") for r in records}
    assert _found(session.secrets(), json.dumps(records).encode()) == []


def test_no_process_shows_a_secret(session: Session) -> None:
    ours = [session.process.inner.pid, *session.process.workers]
    assert len(ours) == 3
    for pid in ours:
        for what in ("cmdline", "environ"):
            assert _found(session.secrets(), Path(f"/proc/{pid}/{what}").read_bytes()) == []
