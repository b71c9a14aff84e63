"""The table of the kinds of credentials, and the steps that all of them share.

A new kind is a file ``by_*.py`` with a subclass of :class:`Credential`, and a line here.
"""

from typing import Final

from authserver.auth.by_app_token import AppToken
from authserver.auth.by_password import Password
from authserver.auth.credentials import Backends, Credential, Identity, Origin
from authserver.db.snapshot import Snapshot

SENT_AS_PASSWORD: Final = (AppToken, Password)
"""Kinds that a client sends with a name, where others send a password.

The secret is of the first kind whose ``shape`` it has; a password may have any.
"""


def of_name_and_secret(name: str, secret: str) -> Credential:
    """Return the credential that a client sent as a name and a password."""
    return next(kind for kind in SENT_AS_PASSWORD if kind.shape.match(secret)).of(name, secret)


def identify(
    credential: Credential,
    backends: Backends,
    snapshot: Snapshot,
    origin: Origin,
    *,
    stale: bool = False,
) -> Identity:
    """Return the identity that a credential proves; for a thread that may wait.

    Raises:
        Unauthorized, NotReady, TooManyAttempts, Busy: as :meth:`Credential.verify`.
    """
    identity = credential.recall(backends, snapshot, origin)
    return identity or credential.verify(backends, snapshot, origin, stale=stale)
