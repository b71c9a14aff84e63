"""Operations of the API: their declaration, and the call that a handler gets.

A module of this package declares its operations on an :class:`Operations` and is listed in
``router``. A handler is annotated with what it takes and answers, and the request is read, the
response written and the OpenAPI document made from these types.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Generic, TypedDict, TypeVar, Unpack, get_args, get_origin

from pydantic import BaseModel
from sqlalchemy.orm import Session

from authserver.auth.bcrypt_queue import Hashing
from authserver.auth.credentials import Origin
from authserver.auth.passwords import NewPasswords
from authserver.core.errors import NotFound, Refused
from authserver.db import second_checks
from authserver.db.store import Change, Store
from authserver.keys.private_keys import Safe
from authserver.runtime.settings import Settings
from authserver.web.api.caller import CHANGE_WAITS, Caller, Callers, Need
from authserver.web.api.models import ApiAnswer, ApiBody, ApiQuery, Nothing
from authserver.web.api.preconditions import Preconditions
from authserver.web.bodies import MAX_BYTES
from authserver.web.overview.lint_memory import LintMemory
from authserver.web.server.maintenance import Maintenance

_Answer = TypeVar("_Answer", bound=ApiAnswer)
_Body = TypeVar("_Body", bound=ApiBody)
_Query = TypeVar("_Query", bound=ApiQuery)
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


@dataclass(frozen=True)
class Parts:
    """What operations work with."""

    settings: Settings
    store: Store
    callers: Callers
    hashing: Hashing
    maintenance: Maintenance
    lint: LintMemory


@dataclass(frozen=True)
class Tagged(Generic[_Answer]):
    """An answer with its entity tag; ``location`` is the path of a thing that was made."""

    answer: _Answer
    tag: str
    location: str | None = None


@dataclass(frozen=True)
class Operation:
    """One method on one path.

    ``status`` is that of a success. ``tagged``: the answer has an ``ETag``. ``creates``: a PUT
    makes what is not there (201), and takes ``If-None-Match: *``.
    """

    method: str
    path: str
    handler: Callable[["Call[Any, Any]"], "ApiAnswer | Tagged[Any] | None"]
    tag: str
    name: str
    summary: str
    body: type[ApiBody] | None
    query: type[ApiQuery]
    answer: type[BaseModel] | None
    status: int
    tagged: bool
    need: Need = Need.ADMINISTRATOR
    creates: bool = False
    max_bytes: int = MAX_BYTES

    @property
    def conditional(self) -> bool:
        """Whether it rests on a state that the client has seen, and takes ``If-Match``."""
        return self.method in ("PUT", "PATCH", "DELETE")


class OperationOptions(TypedDict, total=False):
    """What a declaration may say of an operation instead of its handler."""

    name: str
    summary: str
    body: type[ApiBody]
    query: type[ApiQuery]
    answer: type[ApiAnswer]
    status: int
    need: Need
    creates: bool
    max_bytes: int


@dataclass(frozen=True)
class Call(Generic[_Body, _Query]):
    """One request of an operation, read and found good.

    ``here`` is its path as a client knows it, ``arguments`` its query as it came.
    """

    parts: Parts
    operation: Operation
    path: Mapping[str, Any]
    body: _Body
    query: _Query
    preconditions: Preconditions
    origin: Origin
    authenticated: Caller | None
    here: str
    arguments: Mapping[str, str]

    @property
    def caller(self) -> Caller:
        """Return the caller. An operation that needs an account always has one."""
        if self.authenticated is None:
            raise RuntimeError("this operation needs no account")
        return self.authenticated

    @property
    def owner(self) -> str | None:
        """Return the account to which the call is confined: the caller's own, below ``/me``."""
        return self.caller.name if self.operation.path.startswith("/me/") else None

    def hash_new(self, password: str, name: str) -> str:
        """Return the hash of ``name``'s new password. Raises as :meth:`Hashing.hash_new`."""
        new = NewPasswords.of(self.parts.settings)
        return self.parts.hashing.hash_new(self.origin.address, password, name, new)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one consistent state.

        Below ``/me`` it is checked that the name, by which things are found, is still the caller's.
        """
        with self.parts.store.read() as session:
            if self.owner is not None:
                second_checks.require_account(session, self.caller.identity.known.id, self.owner)
            yield session

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Give a change in the caller's name, and check in it that the caller still may."""
        actor = f"account:{self.caller.name}"
        with self.parts.store.change(actor, wait=CHANGE_WAITS) as change:
            self.parts.callers.require_still(change, self.caller, self.operation.need)
            yield change

    @contextmanager
    def destruction(self) -> Iterator[Change]:
        """Give a change after which an embedded store keeps nothing that was overwritten."""
        with self.change() as change:
            yield change
        self.parts.store.overwrite_deleted()

    def safe(self, session: Session) -> Safe:
        """Return what opens and seals private keys. Raises NotReady as :meth:`Safe.still_of`."""
        return self.parts.callers.state.safe.still_of(session)


BareCall = Call[Nothing, ApiQuery]
"""A call without a body and without a query."""


@dataclass(eq=False)
class Operations:
    """The operations on one noun, in the order in which they are declared."""

    tag: str
    description: str
    operations: list[Operation] = field(default_factory=list)

    def operation(
        self, method: str, path: str, **options: Unpack[OperationOptions]
    ) -> Callable[[_Handler], _Handler]:
        """Declare the decorated function. Its name, docstring and types hold without ``options``.

        Only POST, PUT and PATCH have a body; more than MAX_BYTES only for administrators
        and auditors.
        """

        def declare(handler: _Handler) -> _Handler:
            self.operations.append(replace(_derived(method, path, handler, self.tag), **options))
            return handler

        return declare


def _derived(method: str, path: str, handler: Callable[..., Any], tag: str) -> Operation:
    """Return the operation that a handler's annotations describe."""
    signature = inspect.signature(handler)
    (call,) = signature.parameters.values()
    body, query = get_args(call.annotation)
    answer = signature.return_annotation
    if tagged := get_origin(answer) is Tagged:
        (answer,) = get_args(answer)
    return Operation(
        method,
        path,
        handler,
        tag,
        name=handler.__name__,
        summary=inspect.getdoc(handler) or "",
        body=body if method in ("POST", "PUT", "PATCH") else None,
        query=query,
        answer=answer,
        status=HTTPStatus.NO_CONTENT if answer is None else HTTPStatus.OK,
        tagged=tagged,
    )


@contextmanager
def references() -> Iterator[None]:
    """Turn NotFound into Refused: the path is right, but the body names a thing that is missing."""
    try:
        yield
    except NotFound as error:
        raise Refused(str(error)) from error
