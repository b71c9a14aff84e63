"""Lists: what a search looks in, how they are sorted, and the windows in which they are read.

At the end is what holds for each noun. The command line and the API make their options from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Text, func, or_, select, tuple_, type_coerce
from sqlalchemy.orm import InstrumentedAttribute, aliased

from authserver.core import orders
from authserver.core.errors import Refused
from authserver.core.names import folded
from authserver.core.orders import Orders
from authserver.db.models import (
    AccountRow,
    AppTokenRow,
    ConsoleSessionRow,
    GroupRow,
    MembershipRow,
    RefreshTokenRow,
    RegistryRow,
    RuleRow,
    RuleSubjectRow,
)

MAX_SEARCH = 200
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands in an order for the last use of what was never used."""
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Stands in an order for the end of what does not end."""

Key = str | int | datetime
Has = Callable[[Any], ColumnElement[bool]]
"""Returns whether a column has the text that is searched."""

_Selected = TypeVar("_Selected", bound=Select[Any])


@dataclass(frozen=True)
class Order:
    """What a list can be sorted by: a column that is never NULL, and its value in a row."""

    column: ColumnElement[Any] | InstrumentedAttribute[Any]
    value: Callable[[Any], Key]
    kind: type[Key] = str


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a list: at most ``limit`` rows (None: all) after the keys ``after``.

    ``search`` leaves out what does not have this text in it, in any case, and ``unused_since`` what
    was used since. ``sort`` is one of :attr:`Orders.choices`. A list that is read window by window
    gives each row that keeps its place exactly once.
    """

    after: Sequence[Key] = ()
    limit: int | None = None
    search: str = ""
    sort: str | None = None
    unused_since: datetime | None = None

    @property
    def narrows(self) -> bool:
        """Whether it leaves something out that its place in the list does not."""
        return bool(self.search) or self.unused_since is not None


ALL = Window()


@dataclass(frozen=True)
class Listing:
    """How a noun is listed.

    ``columns`` has one of each order; the first is unique. ``found`` returns where a search looks.
    ``used`` is when a thing was last used, or made if it never was; None where that is not known.
    """

    orders: Orders
    columns: Sequence[Order]
    found: Callable[[Has], Sequence[ColumnElement[bool]]]
    used: ColumnElement[datetime] | None = None

    def _chosen(self, sort: str | None) -> list[Order]:
        columns = dict(zip(self.orders.names, self.columns, strict=True))
        first = self.columns[0]
        order = columns[sort.removeprefix("-")] if sort else first
        return [first] if order is first else [order, first]

    def kinds(self, sort: str | None) -> list[type[Key]]:
        """Return the kinds of a row's keys in that order."""
        return [order.kind for order in self._chosen(sort)]

    def keys(self, row: object, sort: str | None) -> list[Key]:
        """Return the keys of a row in that order; no other row has the same."""
        return [order.value(row) for order in self._chosen(sort)]

    def within(self, query: _Selected, window: Window) -> _Selected:
        """Return the query of what is in ``window``.

        Raises:
            Refused: the search text is longer than MAX_SEARCH.
        """
        if len(window.search) > MAX_SEARCH:
            raise Refused(f"a search text has at most {MAX_SEARCH} characters")
        if window.search:
            query = query.where(or_(*self.found(_has(window.search))))
        if window.unused_since is not None and self.used is not None:
            query = query.where(self.used < window.unused_since)
        columns = [order.column for order in self._chosen(window.sort)]
        falling = (window.sort or "").startswith("-")
        if window.after:
            place, before = tuple_(*columns), tuple_(*window.after)
            query = query.where(place < before if falling else place > before)
        query = query.order_by(*(column.desc() if falling else column for column in columns))
        return query if window.limit is None else query.limit(window.limit)


def _has(text: str) -> Has:
    # Names are stored casefolded too, where ß is ss. Other texts are not.
    forms = {text, folded(text)}
    return lambda column: or_(*(column.icontains(form, autoescape=True) for form in forms))


def _by(column: InstrumentedAttribute[Any], kind: type[Key] = str) -> Order:
    return Order(column, attrgetter(column.key), kind)


def _by_time(column: InstrumentedAttribute[Any], missing: datetime = LONG_AGO) -> Order:
    value = attrgetter(column.key)
    return Order(func.coalesce(column, missing), lambda row: value(row) or missing, datetime)


def _by_account(account_id: InstrumentedAttribute[int]) -> Order:
    name = select(AccountRow.folded_name).where(AccountRow.id == account_id).scalar_subquery()
    return Order(name, lambda row: row.account.folded_name)


def _accounts(of: Orders, *more: Order) -> Listing:
    owner = aliased(AccountRow)
    return Listing(
        of,
        (
            _by(AccountRow.folded_name),
            _by_time(AccountRow.created_at),
            *more,
            _by_time(AccountRow.last_used_at),
        ),
        lambda has: (
            has(AccountRow.folded_name),
            has(AccountRow.description),
            AccountRow.owner.of_type(owner).has(has(owner.folded_name)),
        ),
        func.coalesce(AccountRow.last_used_at, AccountRow.created_at),
    )


def _subject_has(has: Has) -> ColumnElement[bool]:
    """Return whether a rule's subject, as ``user:alice``, has a text."""
    kind = RuleSubjectRow.kind
    return or_(
        has(kind),
        RuleSubjectRow.account.has(has(kind + ":" + AccountRow.folded_name)),
        RuleSubjectRow.group.has(has(kind + ":" + GroupRow.folded_name)),
    )


_size = (
    select(func.count())
    .where(MembershipRow.group_id == GroupRow.id)
    .correlate(GroupRow)
    .scalar_subquery()
)

USERS = _accounts(orders.USERS, _by_time(AccountRow.last_login_at))
ROBOTS = _accounts(orders.ROBOTS)
GROUPS = Listing(
    orders.GROUPS,
    (
        _by(GroupRow.folded_name),
        _by_time(GroupRow.created_at),
        Order(_size, lambda row: len(row.members), int),
    ),
    lambda has: (has(GroupRow.folded_name),),
)
REGISTRIES = Listing(
    orders.REGISTRIES,
    (_by(RegistryRow.service), _by_time(RegistryRow.created_at)),
    lambda has: (has(RegistryRow.service), has(RegistryRow.url)),
)
RULES = Listing(
    orders.RULES,
    (
        _by(RuleRow.id, int),
        _by_time(RuleRow.created_at),
        _by_time(RuleRow.edited_at),
    ),
    lambda has: (
        RuleRow.subjects.any(_subject_has(has)),
        has(type_coerce(RuleRow.patterns, Text)),
        has(RuleRow.comment),
        RuleRow.for_registry.has(has(RegistryRow.service)),
    ),
)
TOKENS = Listing(
    orders.TOKENS,
    (
        _by(AppTokenRow.id, int),
        _by_account(AppTokenRow.account_id),
        _by_time(AppTokenRow.created_at),
        _by_time(AppTokenRow.expires_at, FOR_EVER),
        _by_time(AppTokenRow.last_used_at),
    ),
    lambda has: (has(AppTokenRow.name), AppTokenRow.account.has(has(AccountRow.folded_name))),
    func.coalesce(AppTokenRow.last_used_at, AppTokenRow.created_at),
)
SESSIONS = Listing(
    orders.SESSIONS,
    (
        _by(RefreshTokenRow.id, int),
        _by_account(RefreshTokenRow.account_id),
        _by_time(RefreshTokenRow.created_at),
        _by_time(RefreshTokenRow.expires_at),
        _by_time(RefreshTokenRow.last_used_at),
    ),
    lambda has: (
        RefreshTokenRow.account.has(has(AccountRow.folded_name)),
        RefreshTokenRow.for_registry.has(has(RegistryRow.service)),
        has(RefreshTokenRow.created_address),
        has(RefreshTokenRow.created_client),
    ),
)
CONSOLE_SESSIONS = Listing(
    orders.SESSIONS,
    (
        _by(ConsoleSessionRow.id, int),
        _by_account(ConsoleSessionRow.account_id),
        _by_time(ConsoleSessionRow.created_at),
        _by_time(ConsoleSessionRow.expires_at),
        _by_time(ConsoleSessionRow.seen_at),
    ),
    lambda has: (
        ConsoleSessionRow.account.has(has(AccountRow.folded_name)),
        has(ConsoleSessionRow.created_address),
        has(ConsoleSessionRow.created_client),
    ),
)
