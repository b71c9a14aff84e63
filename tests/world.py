"""An installation in one process: store, keys, application, and short words to change it."""

import base64
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from alembic import command
from cryptography import x509
from flask.testing import FlaskClient
from sqlalchemy import create_engine
from werkzeug.test import TestResponse

from authserver.audit.recorder import Trail, trail_of
from authserver.auth import passwords
from authserver.cli import new_store
from authserver.cli.new_store import First
from authserver.core.rules import Effect, new_rule
from authserver.core.subjects import subjects
from authserver.db import accounts, app_tokens, groups, rules, schema
from authserver.db.app_tokens import Wanted
from authserver.db.store import open_store
from authserver.keys.master_key import make_master_key, read_master_key
from authserver.keys.private_keys import Safe
from authserver.registry import entries, published_keys
from authserver.runtime.settings import Settings
from authserver.web.app import create_app
from authserver.web.wiring import Wiring, wire

COST = 4
ADMIN, PASSWORD, SERVICE = "admin", "correct horse", "registry"


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at

    def move(self, by: timedelta) -> None:
        self.at += by


def trail_in(settings: Settings) -> Trail:
    """Return what gives audit records their place in an installation's chains."""
    return trail_of(settings.master_key_path)


def set_up(settings: Settings) -> None:
    """Make an installation, as `authserver init` does."""
    store = open_store(settings.store_url, lambda: datetime.now(UTC), trail=trail_in(settings))
    schema.upgrade(store.engine)
    master = make_master_key(settings.master_key_path)
    safe = Safe(master, settings.master_key_path, None)
    first = First("authserver", SERVICE, ADMIN, passwords.hash_password(PASSWORD, COST))
    with store.change("test") as change:
        new_store.initialise(change, safe, first)
    store.engine.dispose()


def take_schema_back(settings: Settings, to: str = "-1") -> None:
    """Take the store's schema back: by one revision, as if this version had brought the latest.

    Where that takes the audit chains, the store names its master key as before there were any.
    """
    # An engine of its own: its connections leave foreign keys alone.
    engine = create_engine(settings.store_url)
    with engine.begin() as connection:
        command.downgrade(schema.config(connection), to)
        if schema.has_no_chains(schema.current(connection)):
            before = read_master_key(settings.master_key_path).id_before_chains
            connection.exec_driver_sql(f"UPDATE store_state SET master_key_id = '{before}'")
    engine.dispose()


@dataclass
class World:
    """One serving process. Every change is in force at once: no thread runs, tests refresh."""

    wiring: Wiring
    client: FlaskClient

    @classmethod
    def over(cls, settings: Settings) -> "World":
        wiring = wire(settings)
        return cls(wiring, create_app(wiring).test_client())

    def close(self) -> None:
        self.wiring.store.engine.dispose()

    def user(self, name: str, password: str = PASSWORD, cost: int = COST) -> None:
        with self.wiring.store.change("test") as change:
            accounts.add_user(change, name, passwords.hash_password(password, cost))
        self.wiring.state.refresh()

    def group(self, name: str, *members: str) -> None:
        with self.wiring.store.change("test") as change:
            groups.add(change, name)
            for member in members:
                groups.add_member(change, name, member)
        self.wiring.state.refresh()

    def registry(self, service: str, token_ttl: int | None = None) -> None:
        with self.wiring.store.change("test") as change:
            entries.add(change, service, token_ttl)
        self.wiring.state.refresh()

    def allow(self, subject: str, pattern: str, actions: str, **more: Any) -> int:
        return self._rule(Effect.ALLOW, subject, pattern, actions, **more)

    def deny(self, subject: str, pattern: str, actions: str, **more: Any) -> int:
        return self._rule(Effect.DENY, subject, pattern, actions, **more)

    def _rule(self, effect: Effect, subject: str, pattern: str, actions: str, **more: Any) -> int:
        with self.wiring.store.change("test") as change:
            comment = more.pop("comment", "")
            said = new_rule(effect, subjects(subject), pattern.split(","), actions, **more)
            row = rules.add(change, said, comment)
        self.wiring.state.refresh()
        return row.id

    def disable(self, name: str, *, disabled: bool = True) -> None:
        with self.wiring.store.change("test") as change:
            accounts.set_disabled(change, name, disabled=disabled)
        self.wiring.state.refresh()

    def robot(self, name: str, owner: str | None = None, *, outlives_owner: bool = False) -> None:
        with self.wiring.store.change("test") as change:
            accounts.add_robot(change, name, owner=owner, outlives_owner=outlives_owner)
        self.wiring.state.refresh()

    def app_token(
        self,
        account: str,
        *scopes: str,
        name: str = "token",
        lifetime: timedelta | None = timedelta(days=90),
        networks: tuple[str, ...] = (),
    ) -> tuple[int, str]:
        """Make an app token; return its id and its secret."""
        with self.wiring.store.change("test") as change:
            wanted = Wanted(name, lifetime, scopes, networks)
            row, secret = app_tokens.create(change, account, wanted, secrets.token_bytes)
        self.wiring.state.refresh()
        return row.id, secret

    def post(self, **form: Any) -> TestResponse:
        """POST to the token endpoint; what is not said is as the commonest clients send it."""
        usual = {"client_id": "test", "service": SERVICE}
        sent = {name: value for name, value in (usual | form).items() if value is not None}
        return self.client.post("/token", data=sent)

    def log_in(self, name: str, password: str = PASSWORD, service: str = SERVICE) -> str:
        """Return a refresh token, as docker login keeps it."""
        response = self.get(f"service={service}&offline_token=true", auth=(name, password))
        assert response.json is not None
        token: str = response.json["refresh_token"]
        self.wiring.state.refresh()
        return token

    def get(
        self, query: str = "", *, auth: tuple[str, str] | None = None, **more: Any
    ) -> TestResponse:
        """GET the token endpoint; ``auth`` is a name and a password."""
        headers = dict(more.pop("headers", {}))
        if auth is not None:
            headers["Authorization"] = basic(*auth)
        return self.client.get(f"/token?{query}", headers=headers, **more)

    def granted(self, query: str, *, auth: tuple[str, str] | None = None) -> dict[str, list[str]]:
        """Return the grant of a request that must succeed: actions by ``type:name``."""
        response = self.get(query, auth=auth)
        assert response.status_code == 200, response.text
        access = self.claims(response)["access"]
        return {f"{entry['type']}:{entry['name']}": entry["actions"] for entry in access}

    def claims(self, response: TestResponse) -> dict[str, Any]:
        """Return the claims of the response's token, verified as a registry verifies it."""
        assert response.json is not None
        return self.verified(response.json["token"])

    def verified(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        leaf = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0], validate=True))
        with self.wiring.store.read() as session:
            bundle = published_keys.everything(session, self.wiring.store.clock()).bundle
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(bundle.encode()))
        options: Any = {
            "verify_aud": False,
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        public: Any = leaf.public_key()
        claims: dict[str, Any] = jwt.decode(token, public, algorithms=["ES256"], options=options)
        return claims


def basic(name: str, password: str) -> str:
    """Return the value of an ``Authorization`` header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def wait_until(condition: Any, seconds: float, every: float = 0.02) -> bool:
    """Look at ``condition`` until it holds or ``seconds`` are over; return whether it held."""
    deadline = time.monotonic() + seconds
    while True:
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
