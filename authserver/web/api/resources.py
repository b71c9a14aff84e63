"""Things that have a name and terms: listing, showing, replacing, changing, removing them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import inspect
from sqlalchemy.orm import Session

from authserver.core.errors import NotFound
from authserver.db.lookup import Window
from authserver.db.models import Base
from authserver.db.store import Change
from authserver.web.api.models import Answer, Body, Force, Nothing, Paging, Removed, changes_of
from authserver.web.api.operations import Call, Operations, Reply, references
from authserver.web.api.pagination import Page, page
from authserver.web.api.preconditions import tag

_Row = TypeVar("_Row", bound=Base)
_Terms = TypeVar("_Terms", bound=Body)


@dataclass(frozen=True)
class Shown(Generic[_Row]):
    """How a thing is found and told.

    ``volatile`` are the fields that use changes: nobody edits them, so no edit rests on them.
    """

    answer: type[Answer]
    find: Callable[[Session, Any], _Row]
    described: Callable[[_Row], dict[str, Any]]
    volatile: frozenset[str] = field(default=frozenset())

    def state_tag(self, row: _Row) -> str:
        """Return the entity tag of the thing's present state."""
        state = self.described(row)
        # What is made again under the same name is another thing.
        identity = repr(inspect(row).identity)
        return tag({"": identity} | {k: state[k] for k in state.keys() - self.volatile})

    def reply(self, row: _Row, status: int = 200) -> Reply:
        """Return the answer that shows the thing."""
        answer = self.answer.model_validate(self.described(row))
        return Reply(answer, status, self.state_tag(row))

    def required(self, call: Call[Any, Any], session: Session, key: str | int) -> _Row:
        """Return the thing in the state on which the request rests.

        Raises:
            NotFound: it is not there.
            Refusal: it is in another state.
        """
        row = self.find(session, key)
        call.conditions.require(self.state_tag(row))
        return row


@dataclass(frozen=True)
class Resource(Generic[_Row, _Terms]):
    """A noun that is made, replaced, changed and removed by name.

    ``terms`` is what is said of it; its fields are fields of ``shown.described``. ``key`` is the
    name of the path's parameter, ``editing`` the query of PUT and PATCH.
    """

    noun: str
    path: str
    key: str
    shown: Shown[_Row]
    page: type[Page[Any]]
    terms: type[_Terms]
    listed: Callable[[Session, Window], Sequence[_Row]]
    place: Callable[[_Row], str]
    add: Callable[[Call[Any, Any], Change, str, _Terms], object]
    edit: Callable[[Call[Any, Any], Change, _Row, _Terms, bool], None]
    remove: Callable[[Change, _Row, bool], list[str]]
    editing: type[Force] = Force

    def terms_of(self, row: _Row) -> _Terms:
        said = self.shown.described(row)
        return self.terms.model_validate({name: said[name] for name in self.terms.model_fields})

    def put(self, call: Call[_Terms, Force]) -> Reply:
        """Make it, or replace what is said of it."""
        name = call.path[self.key]
        with call.change() as change:
            row = self._there(change.session, name)
            if row is None:
                call.conditions.require_absent()
                with references():
                    self.add(call, change, name, call.body)
                change.session.flush()
                change.session.expire_all()
                made = self.shown.find(change.session, name)
                return self._located(call, self.shown.reply(made, 201))
            # A request that was sent again because its answer was lost finds all as it wants it.
            if call.conditions.stated or self.terms_of(row) != call.body:
                call.conditions.require(self.shown.state_tag(row))
                self._replace(call, change, row, call.body)
            return self.shown.reply(row)

    def patch(self, call: Call[_Terms, Force]) -> Reply:
        """Change what is said of it; a field that is left out stays as it is."""
        with call.change() as change:
            row = self.shown.required(call, change.session, call.path[self.key])
            said = self.terms_of(row).model_dump() | call.body.model_dump(exclude_unset=True)
            self._replace(call, change, row, self.terms.model_validate(said))
            return self.shown.reply(row)

    def delete(self, call: Call[Nothing, Force]) -> Reply:
        """Remove it."""
        with call.change() as change:
            row = self.shown.required(call, change.session, call.path[self.key])
            return Reply(Removed(rules=self.remove(change, row, call.query.force)))

    def show(self, call: Call[Nothing, Any]) -> Reply:
        """Show it."""
        with call.read() as session:
            return self.shown.reply(self.shown.find(session, call.path[self.key]))

    def list(self, call: Call[Nothing, Paging]) -> Reply:
        """List them."""
        described = self.shown.described
        return page(call, self.page, self.listed, described, self.place, str)

    def declare(self, on: Operations) -> None:
        """Declare the five operations."""
        one, changed = f"{self.path}/{{{self.key}}}", changes_of(self.terms)
        answer, noun = self.shown.answer, self.noun
        on.operation("GET", self.path, name=f"list_{on.tag}", answer=self.page, query=Paging)(
            self.list
        )
        on.operation("GET", one, name=f"show_{noun}", answer=answer, tagged=True)(self.show)
        on.operation(
            "PUT",
            one,
            name=f"put_{noun}",
            answer=answer,
            body=self.terms,
            query=self.editing,
            statuses=(200, 201),
            conditional=True,
            creates=True,
            tagged=True,
        )(self.put)
        on.operation(
            "PATCH",
            one,
            name=f"change_{noun}",
            answer=answer,
            body=changed,
            query=self.editing,
            conditional=True,
            tagged=True,
        )(self.patch)
        on.operation(
            "DELETE", one, name=f"remove_{noun}", answer=Removed, query=Force, conditional=True
        )(self.delete)

    def _there(self, session: Session, name: str) -> _Row | None:
        try:
            return self.shown.find(session, name)
        except NotFound:
            return None

    def _replace(self, call: Call[Any, Force], change: Change, row: _Row, terms: _Terms) -> None:
        if self.terms_of(row) != terms:
            with references():
                self.edit(call, change, row, terms, call.query.force)
            # What was loaded before is not in the order in which it will be read again.
            change.session.flush()
            change.session.expire_all()

    def _located(self, call: Call[Any, Any], reply: Reply) -> Reply:
        return Reply(reply.answer, reply.status, reply.tag, call.here)
