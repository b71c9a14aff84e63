"""Second factors: the step of the login that asks for one, and the pages that set them up.

Who must have one and has none yet comes here from the login, and nowhere else.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import segno
from flask import Blueprint, Response, g, request

from authserver.auth.relying_party import RelyingParty
from authserver.auth.second_factor import SecondFactors
from authserver.core.errors import Refused, TooManyAttempts, WrongSecondFactor
from authserver.db import second_checks, second_factors
from authserver.db.console_sessions import Stage
from authserver.db.models import AccountRow
from authserver.db.snapshot_rows import KnownAccount
from authserver.db.store import Change
from authserver.web.api.caller import CHANGE_WAITS, Need
from authserver.web.console import forms, login
from authserver.web.console.faults import FormFault
from authserver.web.console.layout import at, redirect, redirect_to, render
from authserver.web.console.login import Logins, LoginStep, current_step, with_cookie
from authserver.web.console.visit import ProofDue, console
from authserver.web.errors import say_when_to_retry

pages = Blueprint("second_factors", __name__)


def _factors() -> SecondFactors:
    """Return what enrols and verifies second factors for this console."""
    parts = console().parts
    party = RelyingParty.of(console().listener.url or "")
    state, backends = parts.callers.state, parts.callers.backends
    return SecondFactors(parts.store, state.safe, backends.lockout, party, secrets.token_bytes)


def _known(step: LoginStep) -> KnownAccount:
    return step.caller.identity.known


@login.pages.route("/second-factor", methods=["GET", "POST"])
def prove() -> Response:
    """Prove a second factor: after the password, or again for what needs a fresh proof."""
    following = console().listener.within(request.values.get("next"))
    step: LoginStep | None = g.step
    if step is None or step.stage is Stage.ENROLMENT:
        return redirect("login", next=following)
    if not _known(step).second_factor and step.stage is Stage.OPEN:
        return redirect("confirm", next=following)
    if request.method == "GET":
        return _question(step, following)
    factors, logins = _factors(), _logins()
    try:
        if answer := forms.text("passkey"):
            factors.verify_passkey(_known(step), logins.take(), answer, g.origin)
        else:
            factors.verify_code(_known(step), forms.text("code"), g.origin)
    except (WrongSecondFactor, TooManyAttempts, Refused) as error:
        response = _question(step, following, FormFault.of(error))
        say_when_to_retry(response, error)
        return response
    return with_cookie(redirect_to(following), logins.advance())


def _question(step: LoginStep, following: str, fault: FormFault | None = None) -> Response:
    ceremony = _factors().begin_proof(_known(step))
    if ceremony is not None:
        _logins().keep(ceremony.challenge)
    return render(
        "second_factor.html",
        fault=fault,
        following=following,
        name=step.caller.name,
        passkey=None if ceremony is None else json.loads(ceremony.options),
    )


def _logins() -> Logins:
    logins: Logins = g.logins
    return logins


@dataclass(frozen=True)
class _Enroller:
    """The person who sets factors up: with an open session, or with one that is due for this."""

    step: LoginStep

    @classmethod
    def of_request(cls) -> "_Enroller":
        """Return the person. Raises ProofDue for an open session without a fresh proof."""
        step = current_step()
        if g.visit is not None and not g.visit.is_fresh:
            raise ProofDue
        return cls(step)

    def changed(self, work: Callable[[Change, AccountRow], list[str]]) -> Response:
        """Change the factors by ``work``, and show the recovery codes that it returns, for once.

        Every login ends, and this session goes on under another secret.
        """
        secret = login.new_secret()
        with _logins().going_on(secret, is_proof=True) as change:
            known = _known(self.step)
            row = second_checks.require_account(change.session, known.id, self.step.caller.name)
            codes = work(change, row)
        # Shown in this answer, so that they stand in no URL and no page that can be had again.
        following = console().listener.within(request.values.get("next"))
        shown = render("recovery_codes.html", codes=codes, following=following)
        response = shown if codes else redirect("my/second-factors")
        console().parts.callers.state.refresh()
        return with_cookie(response, secret)


@pages.get("/my/second-factors")
def mine() -> Response:
    """List my second factors."""
    step, store = current_step(), console().parts.store
    with store.read() as session:
        rows = second_factors.listed(session, _known(step).id)
        left = second_factors.codes_left(session, _known(step).id)
    return render(
        "second_factors.html",
        rows=rows,
        codes_left=left,
        demanded=step.stage is Stage.ENROLMENT,
        passkey_doubt=_factors().party.doubt,
        name=step.caller.name,
        following=console().listener.within(request.args.get("next")),
    )


@pages.route("/my/second-factors/app", methods=["GET", "POST"])
def add_app() -> Response:
    """Set up an authenticator app (TOTP)."""
    enroller, factors = _Enroller.of_request(), _factors()
    known, fault = _known(enroller.step), None
    if request.method == "POST":
        name, code, pending = forms.text("name"), forms.text("code"), forms.text("pending")
        try:
            return enroller.changed(
                lambda change, _: factors.finish_totp(change, known, pending, code, name)
            )
        except Refused as error:
            fault = FormFault.of(error)
    # Not the one that was shown before: what comes back in a form is sealed, and not shown again.
    begun = factors.begin_totp(known)
    image = segno.make(begun.uri, error="m").svg_data_uri(scale=5, border=3, light="#fff")
    return render(
        "second_factor_app.html", begun=begun, image=image, fault=fault, form=request.form
    )


@pages.route("/my/second-factors/passkey", methods=["GET", "POST"])
def add_passkey() -> Response:
    """Set up a passkey, which the browser makes."""
    enroller, factors = _Enroller.of_request(), _factors()
    known, fault = _known(enroller.step), None
    if request.method == "POST":
        try:
            challenge, answer, name = _logins().take(), forms.text("passkey"), forms.text("name")
            return enroller.changed(
                lambda change, _: factors.finish_passkey(change, known, challenge, answer, name)
            )
        except Refused as error:
            fault = FormFault.of(error)
    ceremony = factors.begin_passkey(known)
    _logins().keep(ceremony.challenge)
    options = json.loads(ceremony.options)
    return render("second_factor_passkey.html", passkey=options, fault=fault, form=request.form)


@pages.route("/my/second-factors/codes", methods=["GET", "POST"])
def renew_codes() -> Response:
    """Make new recovery codes; the former ones are good no more."""
    enroller = _Enroller.of_request()
    if request.method == "GET":
        return render("recovery_codes_new.html")
    step, parts = enroller.step, console().parts
    with parts.store.change(f"account:{step.caller.name}", wait=CHANGE_WAITS) as change:
        parts.callers.require_still(change, step.caller, Need.ANY)
        row = second_checks.require_account(change.session, _known(step).id, step.caller.name)
        codes = second_factors.renew_codes(change, row, secrets.token_bytes)
    return render("recovery_codes.html", codes=codes, following=at("my/second-factors"))


@pages.route("/my/second-factors/remove", methods=["GET", "POST"])
def remove() -> Response:
    """Remove one of my second factors."""
    enroller = _Enroller.of_request()
    number = request.args.get("id", "")
    factor_id = int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else 0
    with console().parts.store.read() as session:
        known = _known(enroller.step)
        row = second_factors.get(session, known.id, factor_id)
        is_last = len(second_factors.listed(session, known.id)) == 1
    if request.method == "GET":
        return render("second_factor_remove.html", row=row, is_last=is_last)

    def work(change: Change, account: AccountRow) -> list[str]:
        second_factors.remove(change, account, factor_id)
        return []

    return enroller.changed(work)
