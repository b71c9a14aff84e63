"""The ways in which clients ask for tokens."""

from urllib.parse import quote

from tests.soak.facts import Fact
from tests.soak.grants import SERVICE, Question, Rights
from tests.world import basic

TOKEN_PATH = f"/token?service={SERVICE}"
LOGIN_PATH = f"{TOKEN_PATH}&offline_token=true"
ALWAYS = Fact.of("such a credential", value=True)


def anonymous_question(way: str, rights: Rights) -> Question:
    """Return the question of somebody who shows nothing."""
    return Question(way, "", rights, ALWAYS, _with_scope(TOKEN_PATH, rights))


def basic_question(
    way: str, account: str, secret: str, alive: Fact = ALWAYS, rights: Rights | None = None
) -> Question:
    """Return the question of who shows a password or an app token."""
    headers = {"Authorization": basic(account, secret)}
    path = _with_scope(TOKEN_PATH, rights)
    return Question(way, account, rights, alive, path, headers)


def refresh_question(
    way: str, account: str, secret: str, alive: Fact = ALWAYS, rights: Rights | None = None
) -> Question:
    """Return the refresh grant, as docker asks for it."""
    grant = f"grant_type=refresh_token&client_id=soak&refresh_token={secret}"
    form = _with_scope(f"{grant}&service={SERVICE}", rights)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return Question(way, account, rights, alive, "/token", headers, form.encode())


def _with_scope(query: str, rights: Rights | None) -> str:
    if rights is None:
        return query
    return f"{query}&scope={quote(f'repository:{rights.repository}:pull,push')}"
