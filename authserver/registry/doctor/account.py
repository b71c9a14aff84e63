"""The account that the walk is made with, and the tokens that our endpoint gives it."""

import base64
from dataclasses import dataclass, field
from urllib.parse import urlencode

from authserver.core.errors import Refused
from authserver.registry.distribution import parsing
from authserver.registry.doctor.expected import Ours
from authserver.registry.doctor.http import Fetcher
from authserver.registry.doctor.realm import token_in


@dataclass(frozen=True)
class Account:
    """A name and its password or app token; without a name, anonymous."""

    name: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.name or "anonymous"


@dataclass(frozen=True)
class Given:
    """A registry token from our endpoint and the actions that it grants on what was asked for."""

    token: str = field(repr=False)
    actions: frozenset[str]

    def grants(self, *actions: str) -> bool:
        return self.actions.issuperset(actions) or "*" in self.actions


def ask(fetcher: Fetcher, ours: Ours, account: Account, scope: str) -> Given:
    """Fetch a token for ``scope``. The password goes to our own realm and to no other.

    Raises:
        Refused: our endpoint gave no token.
        Unreachable: it does not answer.
    """
    query = {"service": ours.service, "scope": scope, "client_id": "authserver-doctor"}
    headers = {}
    if account.name:
        pair = base64.b64encode(f"{account.name}:{account.password}".encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    answer = fetcher.fetch(f"{ours.realm}?{urlencode(query)}", headers=headers)
    token = token_in(answer)
    if token is None:
        raise Refused(f"{ours.realm} answers {answer.status} and no token. {answer.error}".strip())
    return Given(token, _actions(token, scope))


def _actions(token: str, scope: str) -> frozenset[str]:
    wanted = tuple(scope.rpartition(":")[0].split(":", 1))
    access = parsing.read(token).claims.get("access")
    entries = [entry for entry in access if isinstance(entry, dict)] if access else []
    return frozenset(
        str(action)
        for entry in entries
        if (entry.get("type"), entry.get("name")) == wanted
        for action in entry.get("actions") or ()
    )
