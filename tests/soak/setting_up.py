"""The rules and accounts of a run, and what the clients ask."""

from tests.e2e.fetching import fetch
from tests.e2e.lab import PASSWORD
from tests.soak.changing import Api, Changer
from tests.soak.facts import Fact
from tests.soak.grants import Question, Rights
from tests.soak.place import Place
from tests.soak.questions import (
    ALWAYS,
    LOGIN_PATH,
    anonymous_question,
    basic_question,
    refresh_question,
)
from tests.world import basic


def administrator(here: Place) -> str:
    """Return an app token that may administer, and make others for repositories."""
    bounds = ("--admin", "--scope", "repository:**:all")
    made = here.replicas[0].authserver.run("token", "create", "admin", "--name", "soak", *bounds)
    return made.stdout.strip()


def rule(api: Api, subject: str, pattern: str, *actions: str) -> int:
    """Add a rule; return its id."""
    said = {"effect": "allow", "subjects": [subject], "patterns": [pattern], "actions": actions}
    answer = api.once("POST", "/api/v1/rules", said)
    assert answer is not None, subject
    return int(answer.json()["id"])


def questions(api: Api, changer: Changer) -> list[Question]:
    """Set up the rules and the accounts, and return what the clients ask."""
    never = Fact.of("right to push", value=False)
    rights = {}
    for name in ("alice", "bob", "carol", "dave"):
        rule(api, f"user:{name}", f"{name}/**", "pull")
        push = Fact.of(f"right to push of {name}", value=True)
        changer.changes_rule(rule(api, f"user:{name}", f"{name}/**", "push"), push)
        rights[name] = Rights(f"{name}/app", ALWAYS, push)
    public = Fact.of("right to pull of anybody", value=True)
    changer.changes_rule(rule(api, "anonymous", "public/**", "pull"), public)
    alive = Fact.of("account dave", value=True)
    changer.changes_account("dave", alive)
    return [
        anonymous_question("anonymous", Rights("public/app", public, never)),
        basic_question("password", "alice", PASSWORD, rights=rights["alice"]),
        basic_question("app token", "bob", app_token(api, "bob"), rights=rights["bob"]),
        refresh_question("refresh grant", "carol", log_in(api, "carol"), rights=rights["carol"]),
        basic_question("disabled account", "dave", app_token(api, "dave"), alive, rights["dave"]),
    ]


def app_token(api: Api, account: str) -> str:
    """Return an app token of an account."""
    answer = api.once("POST", "/api/v1/tokens", {"account": account, "name": "soak"})
    assert answer is not None, account
    return str(answer.json()["token"])


def log_in(api: Api, account: str) -> str:
    """Return a refresh token of an account."""
    headers = {"Authorization": basic(account, PASSWORD)}
    return str(fetch(api.url + LOGIN_PATH, headers=headers).json()["refresh_token"])
