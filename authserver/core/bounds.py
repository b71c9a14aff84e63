"""Bounds of credentials: an app token makes only credentials that may do no more than itself."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from authserver.core.addresses import Network
from authserver.core.conditions import Condition, Conditions, Period, SourceNetworks
from authserver.core.names import is_path_component
from authserver.core.pattern_sets import within
from authserver.core.patterns import ACCOUNT, ANY_SEGMENTS, Pattern
from authserver.core.rules import ALL, CATALOG, Limit, expand, in_order
from authserver.core.subjects import Role

_EVERYTHING = (
    Limit("repository", Pattern(ANY_SEGMENTS), frozenset({ALL})),
    Limit("registry", Pattern(CATALOG), frozenset({ALL})),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a credential may be used for.

    With ``limits`` None it stands for all of the account on registries; ``role`` is what it opens
    of the administration, and ``own`` whether it opens the account's own: its app tokens and
    logins, and rules as a delegate. Without ``networks`` it is good from anywhere, without an
    ``end`` for ever.
    """

    limits: tuple[Limit, ...] | None
    role: Role
    own: bool
    networks: tuple[Network, ...] = ()
    end: datetime | None = None

    @property
    def conditions(self) -> Conditions:
        """The same bounds as conditions of a rule, which are compared with others."""
        parts: list[Condition] = [SourceNetworks(self.networks)] if self.networks else []
        parts += [Period(end=self.end)] if self.end else []
        return Conditions(tuple(parts))


UNBOUNDED = Bounds(limits=None, role=Role.ADMINISTRATOR, own=True)
"""The bounds of a password, and of an invitation, which leads to one."""


def placed(limits: Iterable[Limit], account: str) -> tuple[Limit, ...]:
    """Return ``limits`` with the account's own name in place of ``{account}``.

    A limit that can cover nothing with that name is left out.
    """
    return tuple(
        replace(limit, pattern=Pattern(limit.pattern.text.replace(ACCOUNT, account)))
        for limit in limits
        if ACCOUNT not in limit.pattern.text or is_path_component(account)
    )


def beyond(made: Bounds, maker: Bounds) -> Iterator[str]:
    """Give, in words, each part of ``made`` that exceeds ``maker``. Both have placed limits."""
    if made.role > maker.role:
        administers = made.role is Role.ADMINISTRATOR
        yield "administering" if administers else "reading the administration"
    if made.own and not maker.own:
        yield "an account's own tokens and logins"
    if maker.limits is not None:
        wanted = _EVERYTHING if made.limits is None else made.limits
        yield from (str_limit(limit) for limit in wanted if not _covered(limit, maker, len(wanted)))
    yield from made.conditions.beyond(maker.conditions)


def str_limit(limit: Limit) -> str:
    """Return a limit in its written form, ``type:pattern:actions``."""
    return f"{limit.type}:{limit.pattern}:{','.join(in_order(limit.type, limit.actions))}"


def _covered(limit: Limit, maker: Bounds, number: int) -> bool:
    """Whether each action is covered. ``number`` limits share the steps that one may take."""
    return all(
        within(limit.pattern, outers, share=number)
        for outers in {
            _patterns(maker.limits or (), limit.type, action)
            for action in expand(limit.type, limit.actions)
        }
    )


def _patterns(limits: Sequence[Limit], kind: str, action: str) -> tuple[Pattern, ...]:
    return tuple(
        limit.pattern
        for limit in limits
        if limit.type == kind and action in expand(kind, limit.actions)
    )
