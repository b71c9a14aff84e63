"""Questions about the rules: explain, who-can and effective. Each answer has its link to share."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request

from authserver.web.console.faults import FormFault, tried
from authserver.web.console.language import lazy
from authserver.web.console.layout import at, is_page, render
from authserver.web.console.rule_fields import registries, when
from authserver.web.console.visit import visit

pages = Blueprint("ask", __name__)

QUESTIONS = (
    ("ask", lazy("What would be granted, and why?")),
    ("ask/who-can", lazy("Who can?")),
    ("ask/effective", lazy("What may an account do?")),
)
ACTIONS = ("pull", "push", "delete")
SHOWN = 500


@pages.get("/ask")
def explain() -> Response:
    """Say what an account would be granted of some scopes, and why."""
    visit().require("explain")
    asked = _asked()
    answer, fault = None, None
    if asked.keys() & {"account", "scopes"}:
        body: dict[str, Any] = {**asked, "scopes": asked.get("scopes", "").split()}
        token = asked.get("token", "")
        # What is no number is refused at its field.
        body["token"] = int(token) if token.isascii() and token.isdecimal() else token or None
        if "at" in asked:
            body["at"] = when(asked["at"])
        answer, fault = tried(lambda: visit().call("explain", body=body))
    line = [asked.get("account", "ACCOUNT"), *(asked.get("scopes", "").split() or ["SCOPE"])]
    words = ["acl", "explain", *_options(asked, "registry", "from", "at", "token"), "--", *line]
    return _page("ask.html", asked, fault, words, answer=answer)


@pages.get("/ask/who-can")
def who_can() -> Response:
    """List the accounts that may do something on a repository, and by which rules."""
    visit().require("who_can")
    asked = _asked()
    answer, fault = None, None
    if "repository" in asked:
        answer, fault = tried(lambda: visit().call("who_can", query=asked, here=at("ask/who-can")))
    following = None
    if answer is not None and answer.next is not None:
        following = at("ask/who-can") + "?" + answer.next.partition("?")[2]
    line = [asked.get("action", "pull"), asked.get("repository", "REPOSITORY")]
    words = ["acl", "who-can", *_options(asked, "registry", "from"), "--", *line]
    values = {"answer": answer, "following": following, "actions": ACTIONS}
    return _page("ask_who_can.html", asked, fault, words, **values)


@pages.get("/ask/effective")
def effective() -> Response:
    """List all that an account may do, and by which rules."""
    visit().require("effective")
    asked = _asked()
    answer, fault = None, None
    if "account" in asked:
        answer, fault = tried(lambda: visit().call("effective", query=asked))
    words = [
        "acl",
        "effective",
        *_options(asked, "registry", "from"),
        "--",
        asked.get("account", "ACCOUNT"),
    ]
    return _page("ask_effective.html", asked, fault, words, answer=answer, shown=SHOWN)


def _asked() -> dict[str, str]:
    """Return the question of the query; a form sends its empty fields too."""
    return {name: text.strip() for name, text in request.args.items() if text.strip()}


def _options(asked: Mapping[str, str], *names: str) -> list[str]:
    return [part for name in names if name in asked for part in (f"--{name}", asked[name])]


def _page(
    template: str,
    asked: Mapping[str, str],
    fault: FormFault | None,
    words: list[str],
    **values: object,
) -> Response:
    return render(
        template,
        asked=asked,
        fault=fault,
        questions=QUESTIONS,
        registries=registries()[1:],
        command_words=words,
        rule_page=lambda number: at("rules/show", id=number) if is_page("rules/show") else None,
        **values,
    )
