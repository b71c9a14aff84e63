"""Logging in and out, and the sessions that this opens.

A session's cookie is another one after each step: nobody who planted or read an earlier one gets in
with it. What is wrong with a login is answered as by the token endpoint, under its lockout.
"""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus

from flask import Blueprint, Response, g, request
from sqlalchemy import update

from authserver.auth.by_console_session import ConsoleSession
from authserver.auth.credentials import Origin
from authserver.core import second_factor, secret_tokens
from authserver.core.errors import (
    Busy,
    Forbidden,
    NotFound,
    NotReady,
    Refused,
    TooManyAttempts,
    Unauthorized,
)
from authserver.core.second_factor import Due
from authserver.core.secret_tokens import Prefix
from authserver.db import console_sessions, second_checks
from authserver.db.console_sessions import ConsoleLogin, Stage
from authserver.db.models import ConsoleSessionRow
from authserver.db.store import Change
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


STAGES = {Due.NOTHING: Stage.OPEN, Due.PROOF: Stage.PASSWORD, Due.ENROLMENT: Stage.ENROLMENT}
NEXT_PAGE = {Stage.PASSWORD: "second-factor", Stage.ENROLMENT: "my/second-factors"}
"""Where a login goes on that is not open yet."""


@dataclass(frozen=True)
class LoginStep:
    """How far the login of this request has come, and the account that its password proved.

    ``pending`` is what :meth:`Logins.keep` has kept.
    """

    session_id: int
    stage: Stage
    caller: Caller
    pending: bytes | None = field(repr=False)


def current_step() -> LoginStep:
    """Return how far the login of this request has come. Raises Unauthorized without any."""
    step: LoginStep | None = g.step
    if step is None:
        raise Unauthorized("no session of the console")
    return step


def new_secret() -> str:
    """Return what the cookie of a session may hold."""
    return secret_tokens.make(Prefix.CONSOLE, secrets.token_bytes)


@dataclass(frozen=True)
class Logins:
    """Opens the sessions of one console, finds them again, and ends them."""

    console: Console

    def enter(self) -> None:
        """Find the session of the request, as ``g.step``; if it is open, ``g.visit`` too.

        Raises:
            NotReady: the store cannot be reached.
        """
        g.step = g.visit = None
        store, secret = self.console.parts.store, request.cookies.get(self.console.listener.cookie)
        if secret is None:
            return
        with store.read() as session:
            now = store.time(session)
            row = console_sessions.by_secret(session, secret, now)
        if row is None:
            return
        credential = ConsoleSession(row.id, row.account_id)
        try:
            caller = self.console.parts.callers.of_credential(credential, g.origin)
        except Unauthorized:
            return
        stage, known = Stage(row.stage), caller.identity.known
        # A second factor may be demanded since the login: of a new administrator, say.
        if stage is Stage.OPEN and not known.second_factor:
            stage = self._stage(has=False, admin=known.admin)
        g.step = LoginStep(row.id, stage, caller, row.pending)
        if stage is Stage.OPEN:
            self._note_use(row, now)
            g.visit = Visit(self.console, caller, g.origin, row.id, row.proved_at, now)

    def _stage(self, *, has: bool, admin: bool) -> Stage:
        """Return the stage of a session that rests on the password alone."""
        demanded = self.console.parts.callers.backends.demanded
        return STAGES[second_factor.due(demanded, has=has, admin=admin)]

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
        """Begin a session for an account whose password was right; return what its cookie holds.

        It is open unless a second factor is due.

        Raises:
            Unauthorized: the account or its password was changed meanwhile.
        """
        secret = new_secret()
        parts, account_id = self.console.parts, prover.identity.known.id
        with parts.store.change(f"account:{prover.name}", wait=CHANGE_WAITS) as change:
            parts.callers.require_still(change, prover, Need.ANY)
            # The row, and not what was known: a second factor may have been set up just now.
            row = second_checks.require_account(change.session, account_id, prover.name)
            stage = self._stage(has=row.second_factor, admin=row.admin)
            login = ConsoleLogin(account_id, stage, origin.address, origin.client)
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
        secret, step = new_secret(), current_step()
        with self._change(step) as change:
            self._still(change, step)
            row = console_sessions.get(change.session, step.session_id)
            console_sessions.advance(change, row, secret, stage)
        return secret

    @contextmanager
    def going_on(self, secret: str, *, is_proof: bool = False) -> Iterator[Change]:
        """Give a change that ends every login; this session alone goes on, under another secret.

        It ends when it would have. Unless the change rests on a proof, the session is as fresh as
        it was.

        Raises:
            Unauthorized: the session, or what it rests on, ended meanwhile.
        """
        step, origin = current_step(), g.origin
        with self._change(step) as change:
            self._still(change, step)
            former = console_sessions.get(change.session, step.session_id)
            was_open = former.stage == Stage.OPEN
            ends, proved = former.expires_at, former.proved_at
            goes_on = ConsoleLogin(former.account_id, Stage.OPEN, origin.address, origin.client)
            yield change
            row = console_sessions.add(change, goes_on, secret)
            row.expires_at = ends if was_open else row.expires_at
            row.proved_at = row.proved_at if is_proof else proved

    def keep(self, pending: bytes) -> None:
        """Keep what the next step of this session has to know, for once."""
        with self.console.parts.store.append() as session:
            row = session.get(ConsoleSessionRow, current_step().session_id)
            if row is not None:
                row.pending = pending

    def take(self) -> bytes:
        """Return what was kept; it is gone from then on, on all replicas.

        Raises:
            Refused: nothing was kept, or it was taken already.
        """
        step = current_step()
        taken = (
            update(ConsoleSessionRow)
            .where(ConsoleSessionRow.id == step.session_id)
            .where(ConsoleSessionRow.pending == step.pending)
            .values(pending=None)
        )
        with self.console.parts.store.append() as session:
            rows = session.execute(taken.returning(ConsoleSessionRow.id)).all()
        if step.pending is None or not rows:
            raise Refused("this step was taken already: begin again")
        return step.pending

    def end(self) -> None:
        """End the session of this request."""
        step = current_step()
        with self._change(step) as change:
            found = change.session.get(ConsoleSessionRow, step.session_id)
            if found is not None:
                console_sessions.end(change, found)

    def _change(self, step: "LoginStep") -> AbstractContextManager[Change]:
        actor = f"account:{step.caller.name}"
        return self.console.parts.store.change(actor, wait=CHANGE_WAITS)

    def _still(self, change: Change, step: "LoginStep") -> None:
        self.console.parts.callers.require_still(change, step.caller, Need.ANY)


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
    """Return the answer to a request that needs an open session: the way to the step that is due.

    What a form said is gone; the page that it stood on is shown again after the login.
    """
    step: LoginStep | None = g.get("step")
    if step is not None and step.stage in NEXT_PAGE:
        return redirect(NEXT_PAGE[step.stage], next=_this_page())
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
        prover = console().parts.callers.prove(name, password, g.origin, first_of_two=True)
        stage, secret = logins.open(prover, g.origin)
    except (Forbidden, Unauthorized, NotFound):
        fault = FormFault(HTTPStatus.FORBIDDEN, _("The name or the password is wrong."))
        return render("login.html", following=following, name=name, fault=fault)
    except (TooManyAttempts, Busy) as error:
        response = render("login.html", following=following, name=name, fault=FormFault.of(error))
        say_when_to_retry(response, error)
        return response
    if stage is Stage.OPEN:
        return with_cookie(redirect_to(following), secret)
    return with_cookie(redirect(NEXT_PAGE[stage], next=following), secret)


@pages.route("/confirm", methods=["GET", "POST"])
def confirm() -> Response:
    """Show the password again, for what needs a fresh proof."""
    following = console().listener.within(request.values.get("next"))
    if g.visit is None:
        return redirect("login", next=following)
    if visit().caller.identity.known.second_factor:
        return redirect("second-factor", next=following)
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
    if g.step is not None:
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
