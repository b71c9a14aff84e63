"""A visit: one request by a person who is logged in, and the operations that it may ask."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from threading import BoundedSemaphore
from typing import Any

from flask import g
from sqlalchemy.orm import Session
from werkzeug.datastructures import ETags

from authserver.auth.credentials import Origin
from authserver.core.errors import Forbidden, NotReady, Unauthorized
from authserver.db import delegations
from authserver.db.console_sessions import FRESH, Stage
from authserver.db.models import AccountRow, ConsoleSessionRow
from authserver.web.api import parsing, router
from authserver.web.api.caller import Caller
from authserver.web.api.models import Nothing
from authserver.web.api.operations import Call, Operation, Parts
from authserver.web.api.preconditions import Preconditions
from authserver.web.console import step_up
from authserver.web.console.listener import ConsoleListener

OPERATIONS: Mapping[str, Operation] = {
    operation.name: operation for noun in router.NOUNS for operation in noun.operations
}


class ProofDue(Exception):
    """The page needs a fresh proof of the password or of a second factor."""


@dataclass(frozen=True)
class Console:
    """What the pages of one listener work with."""

    parts: Parts
    listener: ConsoleListener
    at_once: BoundedSemaphore = field(
        default_factory=lambda: BoundedSemaphore(router.AT_ONCE), repr=False
    )


@dataclass(frozen=True)
class Visit:
    """A request of a person whose session is open; ``proved_at`` is that of the session."""

    console: Console
    caller: Caller
    origin: Origin
    session_id: int
    proved_at: datetime
    now: datetime

    @property
    def name(self) -> str:
        return self.caller.name

    @property
    def reads_all(self) -> bool:
        """Whether the pages of the administration are offered."""
        return self.may("list_users")

    @cached_property
    def is_delegate(self) -> bool:
        """Whether the person writes rules within delegations, and others only there."""
        known = self.caller.identity.known
        if self.reads_all or not known.account.groups:
            return False
        with self.read() as session:
            row = session.get(AccountRow, known.id)
            return row is not None and bool(delegations.held_by(session, row))

    @property
    def is_fresh(self) -> bool:
        """Whether the password or a second factor was shown a short time ago."""
        return self.now - self.proved_at < FRESH

    def may(self, operation: str) -> bool:
        """Whether the person may ask an operation at all: a page offers no other."""
        try:
            self.caller.require(OPERATIONS[operation].need)
        except Forbidden:
            return False
        return True

    def require(
        self,
        operation: str,
        path: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        """Check that the person may ask an operation, before its form is shown.

        Raises:
            Forbidden: the person may not.
            ProofDue: the operation needs a fresh proof, as far as ``path`` and ``body`` show.
        """
        self.caller.require(OPERATIONS[operation].need)
        self._require_proof(operation, path or {}, body or {})

    def call(
        self,
        operation: str,
        path: Mapping[str, Any] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        tag: str | None = None,
        new: bool = False,
        here: str = "",
    ) -> Any:  # noqa: ANN401 - each operation has its own
        """Return the answer of an operation of the API, under the same checks.

        ``body`` is JSON's, ``query`` as in a URL, ``tag`` the entity tag of the state that the
        person saw; ``new`` says that the thing must not be there yet. ``here`` is the page that
        shows the answer: a list's next part is there.

        Raises:
            ProofDue: the operation needs a fresh proof.
            Refusal: the body or the query is not valid; or the thing was changed meanwhile.
            AuthserverError: as the operation does.
        """
        found, caller = OPERATIONS[operation], self._still()
        caller.require(found.need)
        self._require_proof(operation, path or {}, body or {})
        arguments = dict(query or {})
        call: Call[Any, Any] = Call(
            parts=self.console.parts,
            operation=found,
            path=path or {},
            body=Nothing() if found.body is None else parsing.encoded(body or {}, found.body),
            query=parsing.arguments(arguments, found.query),
            preconditions=Preconditions(None if tag is None else ETags([tag]), if_none=new),
            origin=self.origin,
            authenticated=caller,
            here=here,
            arguments=arguments,
        )
        with self._place():
            return found.handler(call)

    def _still(self) -> Caller:
        """Return the caller of now: an export goes on for as long as its reader takes.

        Raises:
            Unauthorized: the session, or what it rests on, ended meanwhile.
        """
        with self.read() as session:
            row = session.get(ConsoleSessionRow, self.session_id)
        if row is None or row.stage != Stage.OPEN:
            raise Unauthorized("the console session ended meanwhile")
        return self.console.parts.callers.still(self.caller, self.origin)

    def _require_proof(
        self, operation: str, path: Mapping[str, Any], body: Mapping[str, Any]
    ) -> None:
        if self.is_fresh:
            return
        with self.read() as session:
            if step_up.needs_proof(session, operation, path, body):
                raise ProofDue

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session of the store, for what no operation answers."""
        with self.console.parts.store.read() as session:
            yield session

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Take one of the few places, so that the token endpoint keeps the others."""
        if not self.console.at_once.acquire(timeout=router.WAITS):
            raise NotReady("too many requests to the console at once")
        try:
            yield
        finally:
            self.console.at_once.release()


def visit() -> Visit:
    """Return the visit of this request. Pages without a login have none."""
    current: Visit = g.visit
    return current


def console() -> Console:
    """Return the console that answers this request."""
    current: Console = g.console
    return current
