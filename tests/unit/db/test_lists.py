"""Lists: what a search finds, the orders, and reading them window by window."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.orm import Session

from authserver.auth.usage import CredentialKind, CredentialUse, CredentialUses
from authserver.core.errors import Refused
from authserver.core.subjects import subject
from authserver.db import accounts, app_tokens, groups, lists, refresh_tokens, rules, schema
from authserver.db.app_tokens import Wanted
from authserver.db.lists import ALL, MAX_SEARCH, Listing, Window
from authserver.db.store import Store
from authserver.registry import entries
from tests.unit.db.test_store import Act, do, group, registry, rule, user
from tests.world import ADMIN, SERVICE, Clock

Rows = Callable[[Session, Window], Sequence[Any]]
DAY = timedelta(days=1)
PASSWORD, APP, REFRESH = CredentialKind


def token(account: str, name: str, days: int | None) -> Act:
    wanted = Wanted(name, None if days is None else timedelta(days=days))
    return lambda change: app_tokens.create(change, account, wanted, secrets.token_bytes)[0]


def login(name: str, client: str) -> Act:
    def act(change: Any) -> Any:
        row = next(row for row in accounts.listed(change.session) if row.name == name)
        made = refresh_tokens.Login(row.id, name, row.password_hash, "192.0.2.7", client)
        return refresh_tokens.add(change, made, SERVICE, f"secret of {client}", DAY)

    return act


@pytest.fixture
def town(store: Store, clock: Clock) -> Store:
    """An installation in which each noun has a few things, made a day apart."""
    for acts in (
        [user("alice"), user("Ünal"), user("per%cent"), user("Straße")],
        [lambda c: accounts.add_robot(c, "ci", owner="alice", description="Baut ÄPFEL, 100%_")],
        [user("bob"), group("dev", "alice", "bob", "ci"), group("ops", "bob"), group("Leer")],
        [registry("eu.example.com"), registry("us.example.com")],
        [rule("allow user:alice team/** pull"), rule("allow group:dev Host:5000/x* push")],
        [rule("deny user:Ünal,everyone users/{account}/** pull", "eu.example.com")],
        [token("ci", "main", 90), token("alice", "laptop", None), token("ci", "Old", 2)],
        [login("bob", "docker/29.0"), login("alice", "podman/5.6")],
    ):
        do(store, *acts)
        clock.move(DAY)
    return store


NOUNS: dict[str, tuple[Listing, Rows, Callable[[Any], Any]]] = {
    "users": (lists.USERS, lambda s, w: accounts.listed(s, "user", w), lambda r: r.name),
    "robots": (lists.ROBOTS, lambda s, w: accounts.listed(s, "robot", w), lambda r: r.name),
    "groups": (lists.GROUPS, groups.listed, lambda r: r.name),
    "registries": (lists.REGISTRIES, entries.listed, lambda r: r.service),
    "rules": (lists.RULES, lambda s, w: rules.listed(s, window=w), lambda r: r.id),
    "tokens": (lists.TOKENS, lambda s, w: app_tokens.listed(s, window=w), lambda r: r.name),
    "sessions": (
        lists.SESSIONS,
        lambda s, w: refresh_tokens.listed(s, window=w),
        lambda r: r.account.name,
    ),
}


def names(store: Store, noun: str, window: Window = ALL) -> list[Any]:
    _, rows, name = NOUNS[noun]
    with store.read() as session:
        return [name(row) for row in rows(session, window)]


@pytest.mark.parametrize(
    ("noun", "search", "found"),
    [
        ("users", "ALI", ["alice"]),
        ("users", "ünA", ["Ünal"]),
        ("users", "STRASSE", ["Straße"]),
        ("users", "straße", ["Straße"]),
        ("users", "%", ["per%cent"]),
        ("users", "r%c", ["per%cent"]),
        ("users", "a_m", []),
        ("users", "\\", []),
        ("users", "/", []),
        ("users", "' OR 1=1 --", []),
        ("users", "", [ADMIN, "alice", "bob", "per%cent", "Straße", "Ünal"]),
        ("robots", "äpfel", ["ci"]),
        ("robots", "100%_", ["ci"]),
        ("robots", "1__%", []),
        ("robots", "alice", ["ci"]),
        ("groups", "LEE", ["Leer"]),
        ("registries", "EU.", ["eu.example.com"]),
        ("rules", "USER:ALICE", [3]),
        ("rules", "group:DEV", [4]),
        ("rules", "host:5000", [4]),
        ("rules", "everyone", [5]),
        ("rules", "ünal", [5]),
        ("rules", "eu.example", [5]),
        ("rules", "{account}", [5]),
        ("tokens", "OLD", ["Old"]),
        ("tokens", "ali", ["laptop"]),
        ("sessions", "PODMAN", ["alice"]),
        ("sessions", "192.0.2.7", ["bob", "alice"]),
        ("sessions", "bob", ["bob"]),
    ],
)
def test_a_search_finds_a_text_in_any_case_and_nothing_else(
    town: Store, noun: str, search: str, found: list[Any]
) -> None:
    assert names(town, noun, Window(search=search)) == found


def test_a_search_text_has_a_bound(town: Store) -> None:
    assert names(town, "users", Window(search="%" * MAX_SEARCH)) == []
    with pytest.raises(Refused, match="at most 200 characters"):
        names(town, "users", Window(search="x" * (MAX_SEARCH + 1)))


@pytest.mark.parametrize(
    ("noun", "sort", "ordered"),
    [
        ("users", "-name", ["Ünal", "Straße", "per%cent", "bob", "alice", ADMIN]),
        ("groups", "size", ["Leer", "ops", "dev"]),
        ("groups", "-created", ["ops", "Leer", "dev"]),
        ("registries", "-service", ["us.example.com", SERVICE, "eu.example.com"]),
        ("rules", "-created", [5, 4, 3, 2, 1]),
        ("tokens", "account", ["laptop", "main", "Old"]),
        ("tokens", "expires", ["Old", "main", "laptop"]),
        ("tokens", "-expires", ["laptop", "main", "Old"]),
        ("sessions", "account", ["alice", "bob"]),
    ],
)
def test_a_list_is_sorted(town: Store, noun: str, sort: str, ordered: list[Any]) -> None:
    assert names(town, noun, Window(sort=sort)) == ordered


@pytest.mark.parametrize(
    ("noun", "sort"), [(noun, sort) for noun in NOUNS for sort in NOUNS[noun][0].orders.choices]
)
def test_windows_of_each_order_have_each_row_once(town: Store, noun: str, sort: str) -> None:
    of, rows, name = NOUNS[noun]
    whole, window = names(town, noun, Window(sort=sort)), Window(limit=1, sort=sort)
    read: list[Any] = []
    with town.read() as session:
        while part := rows(session, window):
            read += map(name, part)
            keys = of.keys(part[-1], sort)
            assert [type(key) for key in keys] == of.kinds(sort)
            window = replace(window, after=keys)
    assert read == whole
    assert len(read) == len(names(town, noun))


def used(store: Store, *uses: tuple[CredentialKind, int, int, datetime]) -> None:
    noted = CredentialUses(30 * DAY)
    for kind, number, account, at in uses:
        noted.note(CredentialUse(kind, number, account, at, "192.0.2.1", "docker"))
    noted.write(store)


def times(store: Store, name: str) -> tuple[datetime | None, datetime | None]:
    with store.read() as session:
        row = next(row for row in accounts.listed(session) if row.name == name)
        return row.last_login_at, row.last_used_at


def ids(store: Store) -> dict[str, int]:
    with store.read() as session:
        return {row.name: row.id for row in accounts.listed(session)}


def test_an_account_was_used_when_its_last_credential_was(town: Store, clock: Clock) -> None:
    alice, bob, at = ids(town)["alice"], ids(town)["bob"], clock.at
    assert times(town, "alice") == (None, None)
    used(town, (PASSWORD, alice, alice, at), (REFRESH, 2, alice, at + DAY), (APP, 2, alice, at))
    assert times(town, "alice") == (at, at + DAY)
    assert times(town, "bob") == (None, None)
    # Another process is late with what it saw before.
    used(town, (PASSWORD, alice, alice, at - DAY), (PASSWORD, bob, bob, at))
    assert times(town, "alice") == (at, at + DAY)
    assert times(town, "bob") == (at, at)
    do(town, lambda c: app_tokens.revoke(c, 2), lambda c: refresh_tokens.revoke(c, 2))
    assert times(town, "alice") == (at, at + DAY)


def test_a_use_of_an_account_that_is_gone_stops_no_other(town: Store, clock: Clock) -> None:
    former = ids(town)
    do(town, lambda c: accounts.remove(c, "bob"), user("bob"))
    used(town, *((PASSWORD, former[name], former[name], clock.at) for name in ("bob", "alice")))
    assert times(town, "alice") == (clock.at, clock.at)
    assert times(town, "bob") == (None, None), "made again, it inherits nothing"


def test_what_was_not_used_lately_is_found(town: Store, clock: Clock) -> None:
    used(town, (APP, 2, ids(town)["alice"], clock.at))
    # alice and three others are 8 days old, ci 7, bob 6, the tokens 2.
    lately = Window(unused_since=clock.at - 6.5 * DAY)
    unused = names(town, "users", lately)
    assert [name for name in unused if name != ADMIN] == ["per%cent", "Straße", "Ünal"]
    assert names(town, "robots", lately) == ["ci"]
    assert names(town, "tokens", lately) == []
    assert names(town, "tokens", Window(unused_since=clock.at - DAY)) == ["main", "Old"]


@pytest.mark.parametrize(
    ("name", "covering"),
    [
        ("team/a", [1, 3]),
        ("team", [1]),
        ("users/bob/x", [1, 5]),
        ("users/bob", [1]),
        ("Host:5000/x1", [1, 4]),
    ],
)
def test_rules_that_cover_a_repository_are_found(
    town: Store, name: str, covering: list[int]
) -> None:
    with town.read() as session:
        assert [row.id for row in rules.listed(session, covers=name)] == covering
        of_alice = rules.listed(session, subject("user:alice"), covers=name)
        assert [row.id for row in of_alice] == [3] * (name == "team/a")


@pytest.mark.parametrize("name", ["", "Team/A", "a//b", "team/**", "../x", "a" * 256])
def test_what_is_no_repository_is_covered_by_nothing(town: Store, name: str) -> None:
    with town.read() as session, pytest.raises(Refused, match="no repository name"):
        rules.listed(session, covers=name)


def test_an_upgrade_takes_last_uses_from_records_and_tokens(town: Store, clock: Clock) -> None:
    at = clock.at
    used(town, (APP, 1, ids(town)["ci"], at))
    schema.migrate(town.engine, lambda configured: command.downgrade(configured, "0011"))
    empty = [
        "request_id",
        "outcome",
        "address",
        "client",
        "service",
        "requested",
        "granted",
        "reason",
        "rules",
    ]
    columns = ", ".join(["at", "account", "credential", "jwt_id", *empty])
    values = ", ".join([":at", ":account", ":credential", ":jwt_id", *("''" for _ in empty)])
    with town.engine.begin() as connection:
        for account, credential, jwt_id, age in (
            ("Ünal", "password", "j1", 1),
            ("Ünal", "password", "j2", 3),
            ("Ünal", "password", None, 0),
            ("per%cent", "app token x", "j3", 2),
            # Of an account that had this name before.
            ("Straße", "password", "j4", 100),
        ):
            record = {"at": at - age * DAY, "account": account, "credential": credential}
            insert = text(f"INSERT INTO token_record ({columns}) VALUES ({values})")
            connection.execute(insert, record | {"jwt_id": jwt_id})
    town.engine.dispose()
    schema.upgrade(town.engine)
    assert times(town, "Ünal") == (at - DAY, at - DAY)
    assert times(town, "per%cent") == (None, at - 2 * DAY)
    assert times(town, "Straße") == (None, None)
    assert times(town, "ci") == (None, at)
    # bob's session began with his password.
    assert times(town, "bob") == (at - DAY, at - DAY)
