"""The operations on things that have a name: list, show, put, change, remove, and rename."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import inspect
from sqlalchemy.orm import Session

from authserver.core.bounds import UNBOUNDED
from authserver.core.errors import NotFound
from authserver.db import losses
from authserver.db.lists import Listing, Window
from authserver.db.losses import Removable
from authserver.db.models import Base
from authserver.db.store import Change
from authserver.web.api.caller import Need
from authserver.web.api.models import (
    ApiAnswer,
    ApiBody,
    ApiQuery,
    Force,
    Name,
    Nothing,
    Paging,
    Removal,
    Removed,
    changes_of,
)
from authserver.web.api.operations import Call, Operations, Tagged, references
from authserver.web.api.pagination import Page, search, table_page
from authserver.web.api.preconditions import tag
from authserver.web.api.problems import require_confirmed

_Answer = TypeVar("_Answer", bound=ApiAnswer)
_Row = TypeVar("_Row", bound=Base)
_Removable = TypeVar("_Removable", bound=Removable)
_Terms = TypeVar("_Terms", bound=ApiBody)


class NewName(ApiBody):
    """Another name, under the same rules as the name of a new one."""

    name: Name


@dataclass(frozen=True)
class View(Generic[_Row, _Answer]):
    """How a row is found and answered. ``key`` is the path's parameter.

    ``volatile`` are the fields that use changes. No client edits them, so the tag leaves them out.
    """

    answer: type[_Answer]
    find: Callable[[Session, Any], _Row]
    described: Callable[[_Row], dict[str, Any]]
    volatile: frozenset[str] = field(default=frozenset())
    key: str = "id"

    def tag_of(self, row: _Row) -> str:
        """Return the entity tag of a row's present state."""
        state = self.described(row)
        # A thing that is made again under the same name is another thing.
        identity = repr(inspect(row).identity)
        return tag({"": identity} | {k: state[k] for k in state.keys() - self.volatile})

    def tagged(self, row: _Row, location: str | None = None) -> Tagged[_Answer]:
        """Return the answer that shows a row."""
        answer = self.answer.model_validate(self.described(row))
        return Tagged(answer, self.tag_of(row), location)

    def changed(self, change: Change, row: _Row, location: str | None = None) -> Tagged[_Answer]:
        """Return the answer that shows a row which the change has written."""
        # What was loaded before is not in the order in which it will be read again.
        change.session.flush()
        change.session.expire_all()
        return self.tagged(row, location)

    def seen(self, call: Call[Any, Any], session: Session) -> _Row:
        """Return the row of the call's path, in the state that the client saw.

        Raises:
            NotFound: there is no such row.
            Refusal: it is in another state.
        """
        row = self.find(session, call.path[self.key])
        call.preconditions.require(self.tag_of(row))
        return row

    def show(self, call: Call[Any, Any]) -> Tagged[_Answer]:
        """Return the answer that shows the row of the call's path."""
        with call.read() as session:
            return self.tagged(self.find(session, call.path[self.key]))


@dataclass(frozen=True)
class Resource(Generic[_Removable, _Terms]):
    """A noun that clients list, show, put, change and remove by name.

    ``terms`` is the body: each of its fields is also a field of ``view.described``. ``listing`` is
    how they are searched and sorted, ``editing`` the query of PUT and PATCH. ``rename`` takes
    the change, the name and the new one; None where names are for ever.
    """

    noun: str
    path: str
    view: View[_Removable, Any]
    page: type[Page[Any]]
    terms: type[_Terms]
    listed: Callable[[Session, Window], Sequence[_Removable]]
    listing: Listing
    add: Callable[[Call[Any, Any], Change, str, _Terms], object]
    edit: Callable[[Call[Any, Any], Change, _Removable, _Terms], None]
    remove: Callable[[Change, _Removable, bool], list[str]]
    editing: type[Force] = Force
    rename: Callable[[Change, str, str], bool] | None = None

    def list(self, call: Call[Nothing, Paging]) -> Page[Any]:
        """List them."""
        return table_page(call, self.page, self.listed, self.view.described, self.listing)

    def show(self, call: Call[Nothing, ApiQuery]) -> Tagged[Any]:
        """Show it."""
        return self.view.show(call)

    def put(self, call: Call[_Terms, Force]) -> Tagged[Any]:
        """Make it, or replace what is said of it."""
        name = call.path[self.view.key]
        with call.change() as change:
            try:
                row = self.view.find(change.session, name)
            except NotFound:
                return self._add(call, change, name)
            # A request that is sent again because its answer was lost changes nothing.
            if call.preconditions.stated or self.terms_of(row) != call.body:
                call.preconditions.require(self.view.tag_of(row))
            return self._edit(call, change, row, call.body)

    def patch(self, call: Call[_Terms, Force]) -> Tagged[Any]:
        """Change what is said of it; a field that is left out stays as it is."""
        with call.change() as change:
            row = self.view.seen(call, change.session)
            terms = self.terms_of(row).model_dump() | call.body.model_dump(exclude_unset=True)
            return self._edit(call, change, row, self.terms.model_validate(terms))

    def delete(self, call: Call[Nothing, Removal]) -> Removed:
        """Remove it, and what goes with it if that is confirmed."""
        with call.change() as change:
            row = self.view.seen(call, change.session)
            going = losses.of(change.session, [row])
            removed = self.remove(change, row, call.query.force)
            # What raises ends the change: what is refused anyhow needs no confirmation.
            require_confirmed(call.query, going)
            return Removed(rules=removed)

    def give_name(self, call: Call[NewName, ApiQuery]) -> Tagged[Any]:
        """Give it another name. The former one is free at once, and all that it has stays with it.

        Sent again, the request finds nothing under the former name.
        """
        if self.rename is None:
            raise RuntimeError(f"a {self.noun} keeps its name")
        # Bounds on repositories below {account} follow the name.
        call.caller.require_within(UNBOUNDED)
        with call.change() as change:
            row = self.view.find(change.session, call.path[self.view.key])
            self.rename(change, call.path[self.view.key], call.body.name)
            return self.view.changed(change, row)

    def terms_of(self, row: _Removable) -> _Terms:
        """Return the body that would change nothing."""
        state = self.view.described(row)
        return self.terms.model_validate({name: state[name] for name in self.terms.model_fields})

    def _add(self, call: Call[_Terms, Force], change: Change, name: str) -> Tagged[Any]:
        call.preconditions.require_absent()
        with references():
            self.add(call, change, name, call.body)
        change.session.flush()
        return self.view.changed(change, self.view.find(change.session, name), call.here)

    def _edit(
        self, call: Call[Any, Force], change: Change, row: _Removable, terms: _Terms
    ) -> Tagged[Any]:
        if self.terms_of(row) == terms:
            return self.view.tagged(row)
        with references():
            self.edit(call, change, row, terms)
        return self.view.changed(change, row)

    def declare(self, on: Operations) -> None:
        """Declare the operations."""
        one, noun, answer = f"{self.path}/{{{self.view.key}}}", self.noun, self.view.answer
        body, edits = changes_of(self.terms), self.editing
        on.operation(
            "GET",
            self.path,
            name=f"list_{on.tag}",
            answer=self.page,
            query=search(self.listing),
            need=Need.READER,
        )(self.list)
        on.operation("GET", one, name=f"show_{noun}", answer=answer, need=Need.READER)(self.show)
        on.operation(
            "PUT",
            one,
            name=f"put_{noun}",
            answer=answer,
            body=self.terms,
            query=edits,
            creates=True,
        )(self.put)
        on.operation("PATCH", one, name=f"change_{noun}", answer=answer, body=body, query=edits)(
            self.patch
        )
        on.operation("DELETE", one, name=f"remove_{noun}")(self.delete)
        if self.rename is not None:
            on.operation("POST", f"{one}/rename", name=f"rename_{noun}", answer=answer)(
                self.give_name
            )
