"""What can go wrong, in the domain's words. Messages name the thing and the remedy."""


class AuthserverError(Exception):
    """The root of every error that this program raises on purpose."""


class Refused(AuthserverError):
    """A change or a question was refused; nothing was written."""


class NotFound(Refused):
    """The thing that was named does not exist."""


class NotReady(AuthserverError):
    """The installation cannot serve as it is: schema, master key or signing key."""


class TokenRequestError(AuthserverError):
    """A token request that gets no registry token. ``reason`` is for the log, never the client."""

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


class Unauthorized(TokenRequestError):
    """Credentials were shown and they are not good; the client learns nothing more than that."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "incorrect user name or password; run docker login again, "
            "or ask the registry's administrator",
            reason,
        )


class BadRequest(TokenRequestError):
    """The request itself is wrong, whoever sends it."""
