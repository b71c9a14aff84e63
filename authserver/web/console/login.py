"""Logging in and out, and the sessions that this opens.

A session's cookie is another one after each step: nobody who planted or read an earlier one gets in
with it. What is wrong with a login is answered as by the token endpoint, under its lockout.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from flask import Blueprint, Response, g, request

from authserver.auth.by_console_session import ConsoleSession
from authserver.auth.credentials import Origin
from authserver.core import secret_tokens
from authserver.core.errors import (
    Busy,
    Forbidden,
    NotFound,
    NotReady,
    TooManyAttempts,
    Unauthorized,
)
from authserver.core.secret_tokens import Prefix
from authserver.db import console_sessions
from authserver.db.console_sessions import ConsoleLogin, Stage
from authserver.db.models import ConsoleSessionRow
from authserver.web.api.caller import CHANGE_WAITS, Caller, Need
from authserver.web.console import PREFIX, language
from authserver.web.console.faults import FormFault
from authserver.web.console.language import gettext as _
from authserver.web.console.layout import at, redirect, redirect_to, render
from authserver.web.console.visit import Console, Visit, console, visit
from authserver.web.errors import say_when_to_retry

SEEN_EVERY = timedelta(minutes=1)
"""How often a session's use is written down."""

pages = Blueprint("login", __name__)


@dataclass(frozen=True)
class Logins:
    """Opens the sessions of one console, finds them again, and ends them."""

    console: Console

    def enter(self) -> Stage | None:
        """Find the session of the request: set ``g.session`` and, if it is open, ``g.visit``.

        Raises:
            NotReady: the store cannot be reached.
        """
        g.session = g.visit = None
        store, secret = self.console.parts.store, request.cookies.get(self.console.listener.cookie)
        if secret is None:
            return None
        with store.read() as session:
            now = store.time(session)
            row = console_sessions.by_secret(session, secret, now)
        if row is None:
            return None
        credential = ConsoleSession(row.id, row.account_id)
        try:
            caller = self.console.parts.callers.of_credential(credential, g.origin)
        except Unauthorized:
            return None
        g.session = row
        if row.stage == Stage.OPEN:
            self._note_use(row, now)
            g.visit = Visit(self.console, caller, g.origin, row.id, row.proved_at, now)
        return Stage(row.stage)

    def _note_use(self, row: ConsoleSessionRow, now: datetime) -> None:
        if now - row.seen_at < SEEN_EVERY:
            return
        try:
            with self.console.parts.store.append() as session:
                found = session.get(ConsoleSessionRow, row.id)
                if found is not None:
                    found.seen_at = now
        except NotReady:
            # The next request writes it.
            return

    def open(self, prover: Caller, origin: Origin) -> tuple[Stage, str]:
        """Open a session for an account whose password was right; return what its cookie holds.

        Raises:
            Unauthorized: the account or its password was changed meanwhile.
        """
        stage = Stage.OPEN
        secret = secret_tokens.make(Prefix.CONSOLE, secrets.token_bytes)
        account = prover.identity.known.id
        login = ConsoleLogin(account, stage, origin.address, origin.client)
        parts = self.console.parts
        with parts.store.change(f"account:{prover.name}", wait=CHANGE_WAITS) as change:
            parts.callers.require_still(change, prover, Need.ANY)
            former = console_sessions.by_secret(
                change.session, request.cookies.get(self.console.listener.cookie, ""), change.at
            )
            if former is not None:
                console_sessions.end(change, former)
            console_sessions.add(change, login, secret)
        return stage, secret

    def advance(self, stage: Stage = Stage.OPEN) -> str:
        """Take the session of this request a step on after a proof; return what its cookie holds.

        Raises:
            Unauthorized: it ended meanwhile.
        """
        secret = secret_tokens.make(Prefix.CONSOLE, secrets.token_bytes)
        row: ConsoleSessionRow = g.session
        actor = f"account:{row.account.name}"
        with self.console.parts.store.change(actor, wait=CHANGE_WAITS) as change:
            try:
                current = console_sessions.get(change.session, row.id)
            except NotFound:
                raise Unauthorized("the console session ended meanwhile") from None
            console_sessions.advance(change, current, secret, stage)
        return secret

    def end(self) -> None:
        """End the session of this request."""
        row: ConsoleSessionRow = g.session
        actor = f"account:{row.account.name}"
        with self.console.parts.store.change(actor, wait=CHANGE_WAITS) as change:
            found = change.session.get(ConsoleSessionRow, row.id)
            if found is not None:
                console_sessions.end(change, found)


def with_cookie(response: Response, secret: str) -> Response:
    """Have the browser keep the session's secret until it is closed; scripts cannot read it."""
    listener = console().listener
    response.set_cookie(
        listener.cookie,
        secret,
        path="/",
        secure=listener.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


def without_cookie(response: Response) -> Response:
    """Have the browser forget the session's secret."""
    listener = console().listener
    response.delete_cookie(
        listener.cookie, path="/", secure=listener.is_secure, httponly=True, samesite="Lax"
    )
    return response


def due() -> Response:
    """Return the answer to a request that needs an open session: the way to the login."""
    # What a form said is gone; the page that it stood on is shown again after the login.
    return without_cookie(redirect("login", next=_this_page()))


def proof_due() -> Response:
    """Return the answer to a page that needs a fresh proof: the way to its form."""
    return redirect("confirm", next=_this_page())


def _this_page() -> str:
    return console().listener.root + request.full_path.removesuffix("?").removeprefix(PREFIX)


@pages.route("/login", methods=["GET", "POST"])
def log_in() -> Response:
    """Log in with name and password."""
    following = console().listener.within(request.values.get("next"))
    if request.method == "GET":
        if g.visit is not None:
            return redirect_to(following)
        return render("login.html", following=following, name="")
    name, password = request.form.get("name", ""), request.form.get("password", "")
    logins: Logins = g.logins
    try:
        prover = console().parts.callers.prove(name, password, g.origin)
        _stage, secret = logins.open(prover, g.origin)
    except (Forbidden, Unauthorized, NotFound):
        fault = FormFault(HTTPStatus.FORBIDDEN, _("The name or the password is wrong."))
        return render("login.html", following=following, name=name, fault=fault)
    except (TooManyAttempts, Busy) as error:
        response = render("login.html", following=following, name=name, fault=FormFault.of(error))
        say_when_to_retry(response, error)
        return response
    return with_cookie(redirect_to(following), secret)


@pages.route("/confirm", methods=["GET", "POST"])
def confirm() -> Response:
    """Show the password again, for what needs a fresh proof."""
    following = console().listener.within(request.values.get("next"))
    if g.visit is None:
        return redirect("login", next=following)
    if request.method == "GET":
        return render("confirm.html", following=following)
    logins: Logins = g.logins
    try:
        console().parts.callers.prove(visit().name, request.form.get("password", ""), g.origin)
    except (Forbidden, Unauthorized):
        fault = FormFault(HTTPStatus.FORBIDDEN, _("The password is wrong."))
        return render("confirm.html", following=following, fault=fault)
    return with_cookie(redirect_to(following), logins.advance())


@pages.post("/logout")
def log_out() -> Response:
    """Log out: the session ends, not only its cookie."""
    logins: Logins = g.logins
    if g.session is not None:
        logins.end()
    return without_cookie(redirect("login"))


@pages.post("/language")
def choose_language() -> Response:
    """Show the pages in another language from now on."""
    response = redirect_to(console().listener.within(request.form.get("next")))
    chosen = request.form.get("language", "")
    if chosen in language.LANGUAGES:
        response.set_cookie(
            language.COOKIE,
            chosen,
            max_age=timedelta(days=365),
            path=at(""),
            secure=console().listener.is_secure,
            httponly=True,
            samesite="Lax",
        )
    return response
