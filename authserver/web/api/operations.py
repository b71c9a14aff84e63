"""Operations: what can be asked, and what each of them takes and answers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy.orm import Session

from authserver.auth.bcrypt_queue import Hashing
from authserver.auth.credentials import Origin
from authserver.core.errors import NotFound, Refused
from authserver.db.store import Change, Store
from authserver.keys.private_keys import Safe
from authserver.runtime.settings import Settings
from authserver.web.api.caller import Caller, Callers, Need
from authserver.web.api.models import Answer, Body, Nothing, Query
from authserver.web.api.preconditions import Conditions
from authserver.web.bodies import MAX_BYTES

CHANGE_WAITS = 5.0

_Body = TypeVar("_Body", bound=Body)
_Query = TypeVar("_Query", bound=Query)


@dataclass(frozen=True)
class Parts:
    """What operations work with."""

    settings: Settings
    store: Store
    callers: Callers
    hashing: Hashing


@dataclass(frozen=True)
class Reply:
    """What is answered.

    ``tag`` is the entity tag of the state, ``location`` the path of what was made.
    """

    answer: Answer | None
    status: int = 200
    tag: str | None = None
    location: str | None = None


@dataclass(frozen=True)
class Call(Generic[_Body, _Query]):
    """One request of an operation, read and found good.

    ``here`` is its path as a client knows it, ``arguments`` its query as it came.
    """

    parts: Parts
    path: Mapping[str, Any]
    body: _Body
    query: _Query
    conditions: Conditions
    origin: Origin
    need: Need
    who: Caller | None
    here: str
    arguments: Mapping[str, str]

    @property
    def caller(self) -> Caller:
        """Return who calls: an operation that needs an account always has a caller."""
        if self.who is None:
            raise RuntimeError("this operation needs no account")
        return self.who

    def hash_new(self, password: str) -> str:
        """Return a new password's hash. Raises as :meth:`Hashing.hash_new`."""
        cost = self.parts.settings.bcrypt_cost
        return self.parts.hashing.hash_new(self.origin.address, password, cost)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one consistent state."""
        with self.parts.store.read() as session:
            yield session

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Give a change in the caller's name, once he is found to be still entitled to it."""
        actor = f"account:{self.caller.name}"
        with self.parts.store.change(actor, wait=CHANGE_WAITS) as change:
            self.parts.callers.require_still(change, self.caller, self.need)
            yield change

    @contextmanager
    def destruction(self) -> Iterator[Change]:
        """Give a change of which an embedded store keeps nothing that was overwritten."""
        with self.change() as change:
            yield change
        self.parts.store.overwrite_deleted()

    def safe(self, session: Session) -> Safe:
        """Return what opens and seals private keys. Raises NotReady as :meth:`Safe.still_of`."""
        return self.parts.callers.state.safe.still_of(session)


Handler = Callable[[Call[_Body, _Query]], Reply]
AnyHandler = Callable[[Call[Any, Any]], Reply]


@dataclass(frozen=True)
class Operation:
    """One method on one path.

    ``conditional``: it rests on a state that the client has seen, and takes ``If-Match``;
    ``creates``: where there is none it makes one, and takes ``If-None-Match: *``.
    ``tagged``: the answer has an ``ETag``.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    handler: AnyHandler
    need: Need
    body: type[Body] | None
    query: type[Query]
    answer: type[BaseModel] | None
    statuses: tuple[int, ...]
    conditional: bool
    creates: bool
    tagged: bool
    max_bytes: int


@dataclass(eq=False)
class Operations:
    """The operations on one noun, in the order in which they are declared."""

    tag: str
    about: str
    found: list[Operation] = field(default_factory=list)

    def operation(
        self,
        method: str,
        path: str,
        *,
        answer: type[Answer] | None = None,
        name: str | None = None,
        body: type[_Body] = Nothing,  # type: ignore[assignment]
        query: type[_Query] = Query,  # type: ignore[assignment]
        need: Need = Need.ADMINISTRATOR,
        statuses: tuple[int, ...] = (200,),
        conditional: bool = False,
        creates: bool = False,
        tagged: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> Callable[[Handler[_Body, _Query]], Handler[_Body, _Query]]:
        """Declare the decorated function: its docstring is the operation's summary, and its name
        the operation's where none is given.

        Only POST, PUT and PATCH have a body; more than MAX_BYTES only for administrators.
        """

        def declare(handler: Handler[_Body, _Query]) -> Handler[_Body, _Query]:
            self.found.append(
                Operation(
                    method,
                    path,
                    name or handler.__name__,
                    handler.__doc__ or "",
                    self.tag,
                    handler,
                    need,
                    body if method in ("POST", "PUT", "PATCH") else None,
                    query,
                    answer,
                    statuses,
                    conditional,
                    creates,
                    tagged,
                    max_bytes,
                )
            )
            return handler

        return declare


@contextmanager
def references() -> Iterator[None]:
    """Tell that something a body names is not there as a refusal: the path is right."""
    try:
        yield
    except NotFound as error:
        raise Refused(str(error)) from error
