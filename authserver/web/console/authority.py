"""The steps to another authority, as one page that says which of them is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from authserver.core.commands import operands
from authserver.core.errors import NotFound
from authserver.db import losses
from authserver.keys import authorities, signing_keys
from authserver.registry import entries
from authserver.web.api import parsing
from authserver.web.console import forms
from authserver.web.console.forms import Question
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import render
from authserver.web.console.visit import console, visit

pages = Blueprint("authority", __name__)

BACK: tuple[str, dict[str, object]] = ("keys/authority", {})
"""Where every step leads back to."""


@dataclass(frozen=True)
class TrustingRegistry:
    """A registry, and whether it can verify tokens under the newest authority."""

    service: str
    trusts: bool
    has_own_key: bool


@dataclass(frozen=True)
class AuthoritySteps:
    """How far the replacement of the authority is.

    ``former`` is the one before the active one. Tokens under it may be in use until ``until``.
    """

    active: int
    ends_at: datetime
    ends_soon: bool
    waiting: int | None
    former: int | None
    until: datetime
    now: datetime
    registries: Sequence[TrustingRegistry]

    @property
    def due(self) -> str:
        """Return the step that is due, empty if none is."""
        if self.waiting is not None:
            return "confirm" if self.unconfirmed else "activate"
        if self.former is not None:
            return "retire"
        return "make" if self.ends_soon else ""

    @property
    def unconfirmed(self) -> list[str]:
        return [each.service for each in self.registries if not each.trusts]

    @property
    def may_retire(self) -> bool:
        """Whether no token under the former authority is in use any more."""
        return self.now >= self.until

    @classmethod
    def of(cls, session: Session, now: datetime) -> "AuthoritySteps":
        """Return what the store says."""
        active, newest = authorities.active(session), authorities.newest(session)
        try:
            former = authorities.to_retire(session, None).id
        except NotFound:
            former = None
        longest = entries.longest_token(session, console().parts.settings.token_ttl)
        missing = set(authorities.unconfirmed(session, newest))
        return cls(
            active=active.id,
            ends_at=active.not_after,
            ends_soon=active.not_after - now < signing_keys.BEFORE_AUTHORITY,
            waiting=None if newest is active else newest.id,
            former=former,
            until=authorities.in_use_until(active, longest),
            now=now,
            registries=[
                TrustingRegistry(
                    row.service,
                    row.service not in missing,
                    any(key.activated_at is not None for key in row.own_keys),
                )
                for row in entries.listed(session)
            ],
        )


@pages.get("/keys/authority")
def authority() -> Response:
    """Show the steps, and which is due."""
    visit().require("list_keys")
    with visit().read() as session:
        return render("authority.html", steps=AuthoritySteps.of(session, visit().now))


@pages.route("/keys/authority/make", methods=["GET", "POST"])
def make_authority() -> Response:
    """Make the next authority."""
    visit().require("add_authority")
    return Question(
        title=_("Make the next authority?"),
        button=_("Make it"),
        back=BACK,
        after=BACK,
        command=("key", "authority", "rotate"),
        notes=[_("It waits: nothing is signed under it yet. The bundle then holds both.")],
        is_bad=False,
    ).ask("add_authority")


@pages.route("/keys/authority/confirm", methods=["GET", "POST"])
def confirm_authority() -> Response:
    """Say that a registry trusts the newest authority."""
    visit().require("confirm_authority")
    service, newest = request.args.get("service", ""), _newest()
    note = _(
        "A check of the registry finds this out by itself, if there is only one replica of it."
    )
    return Question(
        title=_("Does %(name)s have authority %(id)s in its bundle, and was it restarted?")
        % {"name": service, "id": newest},
        button=_("Yes, it has"),
        back=BACK,
        after=BACK,
        command=("key", "authority", "confirm", *operands(service)),
        notes=[note],
        is_bad=False,
    ).ask("confirm_authority", {"id": newest}, body={"registry": service})


def _newest() -> int:
    with visit().read() as session:
        return authorities.newest(session).id


@pages.route("/keys/authority/activate", methods=["GET", "POST"])
def activate_authority() -> Response:
    """Sign under the authority that waits."""
    visit().require("activate_authority")
    newest = _newest()
    return Question(
        title=_("Sign under authority %(id)s from now on?") % {"id": newest},
        button=_("Activate"),
        back=BACK,
        after=BACK,
        command=("key", "authority", "activate"),
        notes=[_("A new signing key under it signs within a second.")],
        forces=_(
            "Activate it though registries are not known to trust it; those refuse every token"
        ),
        is_bad=False,
    ).ask("activate_authority", {"id": newest})


@pages.route("/keys/authority/retire", methods=["GET", "POST"])
def retire_authority() -> Response:
    """Take an authority out of the bundle."""
    visit().require("retire_authority")
    wanted = parsing.number(request.args.get("id", ""))
    with visit().read() as session:
        going = forms.shown(losses.of(session, [authorities.to_retire(session, wanted)]))
    return Question(
        title=_("Retire authority %(id)s and destroy its private key?") % {"id": wanted},
        button=_("Retire"),
        back=BACK,
        after=BACK,
        command=("key", "authority", "retire", str(wanted)),
        notes=[_("A registry trusts it until it has the new bundle and was restarted.")],
        goes=going,
        forces=_("Retire it though tokens under it may be in use; those are refused"),
    ).ask("retire_authority", {"id": wanted}, query={"confirm": "true"})
