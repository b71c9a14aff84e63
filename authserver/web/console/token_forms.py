"""Forms for app tokens, for everybody and for administrators: the bounds, and the secret's page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from shlex import quote
from typing import Any

from flask import Response, request

from authserver.core import docker_config
from authserver.core.rules import ACTIONS, ALL, LIST
from authserver.db.app_tokens import ADMIN, RIGHTS
from authserver.web.api.access import Effective
from authserver.web.api.app_tokens import NewSecret
from authserver.web.console import forms
from authserver.web.console.cells import TagsCell, words
from authserver.web.console.faults import FormFault
from authserver.web.console.language import Label, lazy
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import render
from authserver.web.console.visit import visit

DAY = 86400
NEVER = "never"
LIFETIMES: Sequence[tuple[str, Label]] = (
    (str(DAY), lazy("1 day")),
    (str(7 * DAY), lazy("7 days")),
    (str(30 * DAY), lazy("30 days")),
    (str(90 * DAY), lazy("90 days")),
    (str(365 * DAY), lazy("1 year")),
    (NEVER, lazy("for ever")),
)
USUAL_LIFETIME = str(90 * DAY)
GRACES: Sequence[tuple[str, Label]] = (
    ("0", lazy("no more")),
    (str(DAY // 24), lazy("1 hour")),
    (str(DAY), lazy("1 day")),
    (str(7 * DAY), lazy("7 days")),
)
MAX_CHOICES = 100
"""As many scopes as a token may have."""


@dataclass(frozen=True)
class CeilingChoice:
    """Repositories that an account may use, and the scope of each action on them."""

    pattern: str
    scopes: Sequence[tuple[str, str]]
    registries: Sequence[str]


def choices(reach: Effective) -> list[CeilingChoice]:
    """Return what a ceiling can be picked from: all that an account may do."""
    found: dict[tuple[str, str], tuple[set[str], list[str]]] = {}
    for each in reach.effective:
        actions, registries = found.setdefault((each.type, each.pattern), (set(), []))
        actions.update(each.actions)
        if each.registry not in registries:
            registries.append(each.registry)
    return [
        CeilingChoice(
            pattern,
            [
                (LIST if action == ALL else action, f"{kind}:{pattern}:{action}")
                for action in ACTIONS[kind]
                if action in actions and (kind, action) != ("repository", ALL)
            ],
            registries,
        )
        for (kind, pattern), (actions, registries) in found.items()
    ][:MAX_CHOICES]


def picked() -> dict[str, Any]:
    """Return the body that the form of ``token_form.html`` makes: that of ``create_token``.

    Without a scope the token would be good for all that the account may do: somebody who chose
    nothing gets a refusal of the empty list, not that.
    """
    is_endless = forms.text("lifetime") == NEVER
    body = {
        "name": forms.text("name"),
        "networks": forms.lines("networks"),
        "lifetime": None if is_endless else seconds("lifetime"),
    }
    scopes = [] if request.form.get("reach") == "all" else [*_merged(), *_lines("scopes")]
    if forms.checked("admin"):
        scopes.append(ADMIN)
    return body | {"scopes": scopes}


def seconds(name: str) -> int:
    """Return a field's number, -1 if it has no number: no operation takes that."""
    text = forms.text(name)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else -1


def nothing_chosen(body: Mapping[str, Any]) -> FormFault | None:
    """Return what is wrong where neither a scope was chosen nor all that the account may do."""
    if body["scopes"] or request.form.get("reach") == "all":
        return None
    text = _("Choose what it may be used for, or all that the account may do.")
    return FormFault(HTTPStatus.UNPROCESSABLE_ENTITY, text, {"scopes": text})


def bounds(scopes: Sequence[str] | None) -> TagsCell:
    """Return what a token may be used for, as a cell."""
    return words(scopes) if scopes else TagsCell([(lazy("all that the account may do"), "")])


def command_words(body: Mapping[str, Any]) -> list[str]:
    """Return the command that makes the token, without the program's name."""
    line = ["token", "create", "--name", body["name"] or "NAME"]
    for scope in body["scopes"]:
        line += [f"--{scope}"] if scope in RIGHTS else ["--scope", scope]
    for network in body["networks"]:
        line += ["--from", network]
    lifetime = body["lifetime"]
    return [*line, "--expires", "never" if lifetime is None else f"{lifetime // DAY}d"]


def made(
    token: NewSecret, *, back: str, command: Sequence[str], operand: str | None = None
) -> Response:
    """Return the page that shows a secret, this once, and what to do with it.

    ``back`` is the page of the list, ``command`` with its ``operand`` what does the same.
    """
    host = visit().console.parts.settings.registry_host
    name = docker_config.kubernetes_name(f"{token.account}-{token.name}") or f"token-{token.id}"
    config = docker_config.docker_config(host or "REGISTRY", token.account, token.token)
    return render(
        "token_made.html",
        token=token,
        bounds=bounds(token.scopes),
        logins=[
            (title, log_in(token.account, program))
            for title, program in (("Docker", "docker"), ("Podman", "podman"))
        ],
        has_host=host is not None,
        manifest=docker_config.kubernetes_secret(name, config),
        manifest_name=name,
        back=back,
        command_words=command,
        operand=operand,
    )


def log_in(account: str, program: str = "docker") -> str:
    """Return the command that logs an account in to the registry, quoted for the shell."""
    host = visit().console.parts.settings.registry_host
    return f"{program} login -u {quote(account)} {host or 'REGISTRY'}"


def _merged() -> list[str]:
    """Return the scopes that are ticked, one for each pattern."""
    actions: dict[str, list[str]] = {}
    for scope in request.form.getlist("ceiling"):
        place, _, action = scope.rpartition(":")
        actions.setdefault(place, []).append(action)
    return [f"{place}:{','.join(each)}" for place, each in actions.items()]


def _lines(name: str) -> list[str]:
    # A scope has commas in it.
    return [line.strip() for line in forms.text(name).splitlines() if line.strip()]
