"""The errors of the domain. A message names the thing that is wrong, and the remedy.

``web.errors`` and ``cli`` turn them into answers and exit codes, in one table each.
"""


class AuthserverError(Exception):
    """The base of every error that this program raises on purpose."""


class Refused(AuthserverError):
    """A change or a question was refused; nothing was written."""


class NotFound(Refused):
    """The thing that was named does not exist."""


class Forbidden(AuthserverError):
    """The caller is authenticated, and may not do this."""


class NotReady(AuthserverError):
    """The installation cannot serve: its store, schema or a key is not in order."""


class Occupied(NotReady):
    """Another writer holds the store; the same call may succeed later."""


class ChainsLost(NotReady):
    """The audit chains or their key are missing; ``what`` is the message without the remedy."""

    def __init__(self, message: str, what: str = "") -> None:
        super().__init__(message)
        self.what = what or message


class StoreFull(NotReady):
    """The store takes nothing more: its disk or its quota is full."""


class Busy(NotReady):
    """Too many requests of one kind are in work; ``retry_after`` is in seconds."""

    retry_after = 5


class MustWait(AuthserverError):
    """A request that must be answered at once would have to wait; nothing was done yet."""


class TokenRequestError(AuthserverError):
    """A token request gets no registry token. ``reason`` is for the log, never for the client.

    ``oauth`` is the error code of RFC 6749, section 5.2.
    """

    oauth = "server_error"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


class Unauthorized(TokenRequestError):
    """The credentials are wrong; the client learns nothing more than that."""

    oauth = "invalid_grant"

    def __init__(self, reason: str) -> None:
        super().__init__(
            "incorrect user name or password; run docker login again, "
            "or ask the registry's administrator",
            reason,
        )


class Challenged(Unauthorized):
    """No credential was shown where the registry asks for one."""

    def __init__(self, reason: str) -> None:
        TokenRequestError.__init__(
            self, "this needs a user name and a password, or an app token", reason
        )


class LoginEnded(Unauthorized):
    """The refresh token is wrong, or its login has ended."""

    def __init__(self, reason: str) -> None:
        TokenRequestError.__init__(
            self, "this login has ended or is for another registry; run docker login again", reason
        )


class AppTokenNeeded(Unauthorized):
    """The password is right, but ``who`` takes app tokens only. Only who knows it is told so."""

    def __init__(self, who: str) -> None:
        TokenRequestError.__init__(
            self,
            f"{who} takes no password here, only app tokens: make one by POST /api/v1/me/tokens, "
            "or ask the registry's administrator for one; then log in with it as the password",
            f"{who} takes app tokens only",
        )


class SecondFactorNeeded(Unauthorized):
    """The password is right, and alone not enough. Only who knows it is told so.

    ``missing``: the account has no second factor yet, and must have one.
    """

    def __init__(self, console: str, *, missing: bool) -> None:
        self.console = console
        what = (
            "set up a second factor and make an app token"
            if missing
            else "this account has a second factor: make an app token"
        )
        reason = "the password alone, and a second factor " + ("must be" if missing else "is")
        TokenRequestError.__init__(self, f"{what} in the console at {console}", f"{reason} set up")


class WrongSecondFactor(Unauthorized):
    """The password is right and the second factor is not. ``reason`` is for the log alone."""

    def __init__(self, reason: str) -> None:
        TokenRequestError.__init__(
            self,
            "this is not a second factor of the account, or a code that was used before: wait for "
            "the next code",
            f"wrong second factor: {reason}",
        )


class TooManyAttempts(TokenRequestError):
    """Too many logins have failed; ``retry_after`` is in seconds. The message names no account."""

    oauth = "temporarily_unavailable"

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            "too many failed logins from your address; try again later, or use an app token",
            f"too many failed logins, for another {retry_after} s",
        )
        self.retry_after = retry_after


class TooManyCodes(TooManyAttempts):
    """Too many codes of one account were wrong, from whatever addresses."""

    def __init__(self, retry_after: int) -> None:
        TokenRequestError.__init__(
            self,
            "too many wrong codes for this account: use a passkey or a recovery code, or ask an "
            "administrator to reset the second factor",
            f"too many wrong codes of the account, for another {retry_after} s",
        )
        self.retry_after = retry_after


class BadRequest(TokenRequestError):
    """The request itself is wrong, with any credentials."""

    oauth = "invalid_request"


class UnsupportedGrantType(BadRequest):
    """The server does not offer this grant type."""

    oauth = "unsupported_grant_type"
