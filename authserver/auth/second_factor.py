"""Second factors: how a user enrols one, and how it is proved beside the password.

Only pages of the console and commands import this: the token path takes no second factor. Who calls
it has verified the password. Guesses of codes count as wrong passwords do, under the same address
and account, and the wrong codes of an account are counted from all addresses as well.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import pyotp
import webauthn
from limits import RateLimitItemPerSecond
from sqlalchemy.orm import Session
from webauthn.helpers import structs
from webauthn.helpers.exceptions import WebAuthnException

from authserver.auth.credentials import Origin
from authserver.auth.lockout import Attempt, Lockout
from authserver.auth.relying_party import RelyingParty
from authserver.core.errors import NotReady, Refused, TooManyCodes, WrongSecondFactor
from authserver.core.names import printable
from authserver.db import second_checks, second_factors
from authserver.db.models import AccountRow, SecondFactorRow
from authserver.db.second_factors import FactorKind, NewPasskey
from authserver.db.snapshot_rows import KnownAccount
from authserver.db.store import Change, Store
from authserver.keys.private_keys import Safe

STEP, WINDOW = 30, 1
"""Seconds for which a TOTP code is shown, and how many steps a phone's clock may be off."""

ENROLMENT_LIFE = timedelta(minutes=15)
WRONG_CODES = 100
"""Wrong codes of one account a day, from all addresses: a code has but six digits."""

MAX_RESPONSE = 64 * 1024
CHANGE_WAITS = 5.0
_DAY = 24 * 3600
_wrong_codes = RateLimitItemPerSecond(WRONG_CODES, _DAY, "codes")

# A hostile response may be any JSON and any CBOR: the library lets these through.
_UNREADABLE: Final = (
    *(WebAuthnException, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(OverflowError, RecursionError, EOFError),
)


@dataclass(frozen=True, slots=True)
class TotpEnrolment:
    """A TOTP secret to show once: in base32, as ``uri`` for a QR code.

    ``pending`` is the same, sealed for this account. Give it back to :meth:`finish_totp`.
    """

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    pending: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ceremony:
    """What a browser is asked, as JSON. The caller keeps ``challenge`` with the login, for once."""

    options: str
    challenge: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """A second factor was proved. ``codes_left`` is how many recovery codes there are now."""

    kind: FactorKind
    codes_left: int


@dataclass(frozen=True)
class SecondFactors:
    """Enrols and verifies second factors; ``issuer`` is what authenticator apps show."""

    store: Store
    safe: Safe
    lockout: Lockout
    party: RelyingParty
    random: Callable[[int], bytes]
    issuer: str = "authserver"

    def begin_totp(self, account: KnownAccount) -> TotpEnrolment:
        """Return a new TOTP secret for an account; nothing is stored until it shows a code."""
        secret = base64.b32encode(self.random(20)).decode()
        with self.store.read() as session:
            at, safe = self.store.time(session), self.safe.still_of(session)
        plain = json.dumps([secret, int(at.timestamp())]).encode()
        sealed = safe.master.seal(plain, _enrolment_of(account.id))
        place = f"{self.issuer} {self.party.host}"
        uri = pyotp.TOTP(secret).provisioning_uri(name=account.account.name, issuer_name=place)
        return TotpEnrolment(secret, uri, base64.urlsafe_b64encode(sealed).decode())

    def finish_totp(
        self, change: Change, account: KnownAccount, pending: str, code: str, name: str
    ) -> list[str]:
        """Store the TOTP secret, which ``code`` proves; return new recovery codes, if any.

        Raises:
            Refused: the enrolment is another account's or too old, the code is wrong, or as
                :func:`second_factors.add_totp`.
            Unauthorized: the account was removed, disabled or renamed meanwhile.
        """
        safe = self.safe.still_of(change.session)
        secret = _pending_secret(safe, account, pending, change.at)
        step = _step_of(secret, code, change.at)
        if step is None:
            raise Refused(
                "the code is wrong: type the one that the app shows now, and check that the "
                "phone's clock is right"
            )
        seal = second_factors.sealed_name(account.id)
        rows = second_factors.listed(change.session, account.id)
        present = [row.sealed_secret for row in rows if row.sealed_secret is not None]
        # Twice, each of its codes would be good twice.
        if secret.encode() in [safe.master.open(sealed, seal) for sealed in present]:
            raise Refused("this app is set up already")
        sealed = safe.master.seal(secret.encode(), seal)
        owner = _owner(change, account)
        return second_factors.add_totp(change, owner, name, sealed, step, self.random)

    def begin_passkey(self, account: KnownAccount) -> Ceremony:
        """Return what the browser is asked to make a passkey.

        Raises:
            Refused: browsers make none for this place.
        """
        if self.party.doubt is not None:
            raise Refused(self.party.doubt)
        with self.store.read() as session:
            rows = second_factors.listed(session, account.id)
            key = self.safe.still_of(session).master.derive("user handles of passkeys")
        challenge = self.random(32)
        options = webauthn.generate_registration_options(
            rp_id=self.party.host,
            rp_name=self.issuer,
            user_id=hmac.digest(key, str(account.id).encode(), sha256),
            user_name=account.account.name,
            challenge=challenge,
            authenticator_selection=structs.AuthenticatorSelectionCriteria(
                resident_key=structs.ResidentKeyRequirement.PREFERRED,
                user_verification=structs.UserVerificationRequirement.PREFERRED,
            ),
            exclude_credentials=_descriptors(rows),
        )
        return Ceremony(webauthn.options_to_json(options), challenge)

    def finish_passkey(
        self, change: Change, account: KnownAccount, challenge: bytes, response: str, name: str
    ) -> list[str]:
        """Store the passkey that a browser made; return new recovery codes, if any.

        Raises:
            Refused: the response does not answer the challenge from this place, or as
                :func:`second_factors.add_passkey`.
        """
        try:
            sent = _read_json(response)
            made = webauthn.verify_registration_response(
                credential=sent,
                expected_challenge=challenge,
                expected_rp_id=self.party.host,
                expected_origin=self.party.origin,
            )
            passkey = NewPasskey(
                made.credential_id, made.credential_public_key, made.sign_count, _transports(sent)
            )
        except _UNREADABLE as error:
            raise Refused(f"the passkey is refused: {printable(str(error))}") from None
        owner = _owner(change, account)
        return second_factors.add_passkey(change, owner, name, passkey, self.random)

    def begin_proof(self, account: KnownAccount) -> Ceremony | None:
        """Return what the browser is asked to prove a passkey; None if the account has none."""
        with self.store.read() as session:
            allowed = _descriptors(second_factors.listed(session, account.id))
        if not allowed or self.party.doubt is not None:
            return None
        challenge = self.random(32)
        options = webauthn.generate_authentication_options(
            rp_id=self.party.host,
            challenge=challenge,
            allow_credentials=allowed,
            user_verification=structs.UserVerificationRequirement.PREFERRED,
        )
        return Ceremony(webauthn.options_to_json(options), challenge)

    def verify_passkey(
        self, account: KnownAccount, challenge: bytes, response: str, origin: Origin
    ) -> Proof:
        """Verify the browser's answer to a challenge, which the caller never takes again.

        Raises:
            WrongSecondFactor: it proves no passkey of this account, here, or its sign count went
                back, as that of a copy does.
            Unauthorized: the account was removed, disabled or renamed meanwhile.
            TooManyAttempts: too many others were wrong.
        """
        with self._attempt(account, origin) as attempt:
            try:
                return self._passkey(account, challenge, response)
            except WrongSecondFactor:
                attempt.count(challenge.hex())
                raise

    def _passkey(self, account: KnownAccount, challenge: bytes, response: str) -> Proof:
        with self._change(account) as change:
            owner = _owner(change, account)
            try:
                sent = _read_json(response)
                row = second_factors.find_passkey(
                    change.session, account.id, webauthn.base64url_to_bytes(sent["rawId"])
                )
                if row is None:
                    raise WrongSecondFactor("a passkey that the account does not have")
                proved = webauthn.verify_authentication_response(
                    credential=sent,
                    expected_challenge=challenge,
                    expected_rp_id=self.party.host,
                    expected_origin=self.party.origin,
                    credential_public_key=row.public_key or b"",
                    credential_current_sign_count=row.sign_count,
                )
            except _UNREADABLE as error:
                raise WrongSecondFactor(f"a passkey: {printable(str(error))}") from None
            second_factors.use_passkey(change, owner, row, proved.new_sign_count)
            left = second_factors.codes_left(change.session, account.id)
        return Proof(FactorKind.PASSKEY, left)

    def verify_code(self, account: KnownAccount, code: str, origin: Origin) -> Proof:
        """Verify a TOTP code or a recovery code. Each is good once, on all replicas.

        Raises:
            WrongSecondFactor: it is neither, or was used before.
            Unauthorized: the account was removed, disabled or renamed meanwhile.
            TooManyAttempts: too many others were wrong; TooManyCodes if of this account.
        """
        text = "".join(code.split())
        is_totp = len(text) <= pyotp.TOTP("A" * 32).digits
        with self._attempt(account, origin) as attempt:
            limited = self.lockout.hashed("codes", str(account.id))
            if is_totp and (wait := self.lockout.counts.wait(_wrong_codes, limited)):
                raise TooManyCodes(wait)
            with self.store.read() as session:
                at = self.store.time(session)
            proof = self._totp(account, text) if is_totp else self._recovery_code(account, text)
            if proof is None:
                # The same digits are another guess once the code is another.
                attempt.count(f"{text} {_step(at)}" if is_totp else text)
                if is_totp:
                    self.lockout.counts.hit(_wrong_codes, limited)
                raise WrongSecondFactor("a wrong or used code")
        return proof

    def _totp(self, account: KnownAccount, code: str) -> Proof | None:
        # A wrong code must not take the writers' lock.
        with self.store.read() as session:
            found = self._find_totp(session, account, code)
        if found is None:
            return None
        factor_id, step = found
        with self._change(account) as change:
            owner = _owner(change, account)
            if not second_factors.use_totp(change, owner, factor_id, step):
                return None
            return Proof(FactorKind.TOTP, second_factors.codes_left(change.session, account.id))

    def _find_totp(
        self, session: Session, account: KnownAccount, code: str
    ) -> tuple[int, int] | None:
        """Return the secret that shows ``code``, by its id, and the step in which it does."""
        safe, found = self.safe.still_of(session), None
        for row in second_factors.listed(session, account.id):
            if row.sealed_secret is not None:
                sealed_name = second_factors.sealed_name(account.id)
                secret = safe.master.open(row.sealed_secret, sealed_name).decode()
                step = _step_of(secret, code, self.store.time(session))
                if step is not None and step > (row.last_step or 0):
                    found = row.id, step
        return found

    def _recovery_code(self, account: KnownAccount, text: str) -> Proof | None:
        with self.store.read() as session:
            if second_factors.find_code(session, account.id, text) is None:
                return None
        with self._change(account) as change:
            owner = _owner(change, account)
            if not second_factors.use_code(change, owner, text):
                return None
            left = second_factors.codes_left(change.session, account.id)
        return Proof(FactorKind.RECOVERY_CODE, left)

    def _attempt(self, account: KnownAccount, origin: Origin) -> AbstractContextManager[Attempt]:
        name = account.account.name
        return self.lockout.attempt(
            origin.address, str(account.id), exists=True, shown=lambda: name
        )

    def _change(self, account: KnownAccount) -> AbstractContextManager[Change]:
        return self.store.change(f"account:{account.account.name}", wait=CHANGE_WAITS)


def _owner(change: Change, account: KnownAccount) -> AccountRow:
    """Return the account's row. Raises as :func:`second_checks.require_account`."""
    return second_checks.require_account(change.session, account.id, account.account.name)


def _enrolment_of(account_id: int) -> str:
    return f"enrolment of account {account_id}"


def _pending_secret(safe: Safe, account: KnownAccount, pending: str, now: datetime) -> str:
    """Return the secret of an enrolment that this account began a short while ago."""
    try:
        sealed = base64.b64decode(pending, b"-_", validate=True)
        secret, at = json.loads(safe.master.open(sealed, _enrolment_of(account.id)))
    except (binascii.Error, ValueError, NotReady):
        secret, at = "", 0
    if now.timestamp() - at > ENROLMENT_LIFE.total_seconds():
        raise Refused("this enrolment has ended: begin again")
    return str(secret)


def _step(at: datetime) -> int:
    return int(at.timestamp()) // STEP


def _step_of(secret: str, code: str, at: datetime) -> int | None:
    """Return the step in which ``secret`` shows ``code``, if that is now or one beside it."""
    totp, found, shown = pyotp.TOTP(secret, interval=STEP), None, "".join(code.split())
    for step in range(_step(at) - WINDOW, _step(at) + WINDOW + 1):
        # All of them, in the same time.
        if hmac.compare_digest(totp.generate_otp(step).encode(), shown.encode()):
            found = step
    return found


def _read_json(response: str) -> dict[str, Any]:
    if len(response) > MAX_RESPONSE:
        raise ValueError("the response is too long")
    sent = json.loads(response)
    if not isinstance(sent, dict):
        raise TypeError("the response is no object")
    return sent


def _transports(sent: dict[str, Any]) -> tuple[str, ...]:
    """Return how the authenticator is reached, as far as we know these words."""
    said = sent["response"].get("transports") or ()
    return tuple(each.value for each in structs.AuthenticatorTransport if each.value in said)


def _descriptors(
    rows: Sequence[SecondFactorRow],
) -> list[structs.PublicKeyCredentialDescriptor]:
    return [
        structs.PublicKeyCredentialDescriptor(
            id=row.credential_id,
            transports=[structs.AuthenticatorTransport(each) for each in row.transports] or None,
        )
        for row in rows
        if row.credential_id is not None
    ]
