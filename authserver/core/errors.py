"""What can go wrong, in the domain's words. Messages name the thing and the remedy."""


class AuthserverError(Exception):
    """The root of every error that this program raises on purpose."""


class Refused(AuthserverError):
    """A change or a question was refused; nothing was written."""


class NotFound(Refused):
    """The thing that was named does not exist."""


class Forbidden(AuthserverError):
    """Whoever asks is known, and may not do this."""


class NotReady(AuthserverError):
    """The installation cannot serve as it is: schema, master key or signing key."""


class Occupied(NotReady):
    """Another writer holds the store; what failed may be tried again."""


class ChainsLost(NotReady):
    """The audit chains, or their key, are not there; ``what`` says it without the remedy."""

    def __init__(self, message: str, what: str = "") -> None:
        super().__init__(message)
        self.what = what or message


class StoreFull(NotReady):
    """The store takes nothing more: its disk is full, or the place that it was given."""


class Busy(NotReady):
    """Too much of a kind is being done; ``retry_after`` is in seconds."""

    retry_after = 5


class MustWait(AuthserverError):
    """A request that is to be answered at once would have to wait; nothing was done yet."""


class TokenRequestError(AuthserverError):
    """A token request that gets no registry token. ``reason`` is for the log, never the client.

    ``oauth`` is the error code of RFC 6749, section 5.2.
    """

    oauth = "server_error"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


class Unauthorized(TokenRequestError):
    """Credentials were shown and they are not good; the client learns nothing more than that."""

    oauth = "invalid_grant"

    def __init__(self, reason: str) -> None:
        super().__init__(
            "incorrect user name or password; run docker login again, "
            "or ask the registry's administrator",
            reason,
        )


class LoginEnded(Unauthorized):
    """A refresh token was shown and is not good, or not any more."""

    def __init__(self, reason: str) -> None:
        TokenRequestError.__init__(
            self, "this login has ended or is for another registry; run docker login again", reason
        )


class TooManyAttempts(TokenRequestError):
    """Too many logins have failed; ``retry_after`` is in seconds. It tells of no account."""

    oauth = "temporarily_unavailable"

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            "too many failed logins from your address; try again later, or use an app token",
            f"too many failed logins, for another {retry_after} s",
        )
        self.retry_after = retry_after


class BadRequest(TokenRequestError):
    """The request itself is wrong, whoever sends it."""

    oauth = "invalid_request"


class UnsupportedGrantType(BadRequest):
    """The grant type is missing or none that is offered."""

    oauth = "unsupported_grant_type"
