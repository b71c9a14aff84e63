"""What needs attention by the store, the settings and the files that these name."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TypeVarTuple

from cryptography import x509
from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from authserver.audit import checkpoints
from authserver.audit.recorder import Trail
from authserver.auth.state import clock_trouble
from authserver.core.commands import shell_command
from authserver.core.errors import NotReady
from authserver.core.names import the_registry
from authserver.db import lockouts, snapshot
from authserver.db.models import AccountRow, AppTokenRow, InvitationRow, RegistryRow
from authserver.db.snapshot import Snapshot
from authserver.db.store import Store
from authserver.keys import signing_keys
from authserver.keys.signing_keys import Ending
from authserver.policy.lint.findings import Level
from authserver.policy.lint.stale import LintAges
from authserver.registry import entries, last_checks
from authserver.runtime.settings import Settings
from authserver.web.overview.items import (
    FIRST,
    OverviewCode,
    OverviewItem,
    OverviewPage,
    altered,
    first_of,
    number,
)
from authserver.web.overview.lint_memory import LintMemory

SOON = timedelta(days=14)

Selected = TypeVarTuple("Selected")


@dataclass(frozen=True)
class StoreView:
    """What items are found in. ``known`` is the snapshot that this process has already, if any.

    ``now`` is the store's time, and ``skew`` how far this machine's clock is ahead of it.
    """

    session: Session
    store: Store
    settings: Settings
    lint: LintMemory
    known: Snapshot | None = None
    now: datetime = field(init=False)
    skew: timedelta = field(init=False)

    def __post_init__(self) -> None:
        # First of all: what follows may take seconds.
        object.__setattr__(self, "now", self.store.time(self.session))
        object.__setattr__(self, "skew", self.store.clock() - self.now)

    @cached_property
    def state(self) -> Snapshot:
        if self.known is None:
            return snapshot.load(self.session)
        return snapshot.follow(self.session, self.known)

    @cached_property
    def registries(self) -> Sequence[RegistryRow]:
        return entries.listed(self.session)

    @cached_property
    def endings(self) -> Sequence[Ending]:
        """Return the ends of keys that are near."""
        return [end for end in signing_keys.endings_of(self.session) if end.is_near(self.now)]

    def ending(
        self, query: Select[str, *Selected], of: type[AppTokenRow | InvitationRow]
    ) -> Iterator[Row[str, *Selected]]:
        """Give what will end SOON of accounts that may log in, the soonest first.

        The query's first column is the account's name.
        """
        end = of.expires_at
        soon = query.where(end > self.now, end < self.now + SOON).order_by(end, of.id)
        for row in self.session.execute(soon):
            if not self.state.accounts[row[0]].disabled:
                yield row

    def level_of(self, end: datetime) -> Level:
        return Level.ERROR if end <= self.now else Level.WARNING


Kind = Callable[[StoreView], Iterator[OverviewItem]]


def items(view: StoreView) -> Iterator[OverviewItem]:
    """Give what needs attention, in no order."""
    for kind in KINDS:
        yield from kind(view)


def _ending(kind: str, code: OverviewCode) -> Kind:
    """Return the kind of item of keys that end soon."""

    def find(view: StoreView) -> Iterator[OverviewItem]:
        near = [ending for ending in view.endings if ending.kind == kind]
        if not near:
            return
        soonest = min(near, key=lambda ending: ending.at)
        several = "" if len(near) == 1 else f"{number(len(near), 'key')} end soon; "
        yield OverviewItem(
            code,
            view.level_of(soonest.at),
            several + soonest.warning,
            len(near),
            first_of([ending.name for ending in near]),
            soonest.command,
            OverviewPage.KEYS,
        )

    return find


def _tls(view: StoreView) -> Iterator[OverviewItem]:
    chosen = view.settings
    files = {pair[0] for pair in (chosen.tls_files, chosen.admin_tls_files) if pair}
    ends = {file: end for file in sorted(files) if (end := _end_of(file)) is not None}
    near = sorted((end, file) for file, end in ends.items() if end < view.now + SOON)
    if near:
        end, file = near[0]
        yield OverviewItem(
            OverviewCode.TLS_ENDS,
            view.level_of(end),
            f"the TLS certificate {file} ends on {end:%Y-%m-%d %H:%M} UTC: replace it and its key; "
            "serve takes the new ones by itself",
            len(near),
            first_of([str(file) for _, file in near]),
        )


def _end_of(certificate: Path) -> datetime | None:
    # On another machine, or for another user, it may not be readable. There serve tells.
    with suppress(OSError, ValueError):
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    return None


def _tokens(view: StoreView) -> Iterator[OverviewItem]:
    query = select(AccountRow.name, AppTokenRow.name).join(AppTokenRow.account)
    names = [f"{token} of {account}" for account, token in view.ending(query, AppTokenRow)]
    if names:
        yield OverviewItem(
            OverviewCode.TOKENS_END,
            Level.WARNING,
            f"{number(len(names), 'app token')} will expire within {SOON.days} days: programs that "
            "use them will be refused",
            len(names),
            first_of(names),
            shell_command("token", "list", "--expiring", f"{SOON.days}d"),
            OverviewPage.TOKENS,
        )


def _invitations(view: StoreView) -> Iterator[OverviewItem]:
    same = InvitationRow.account_id == AccountRow.id
    query = select(AccountRow.name).join(InvitationRow, same)
    names = [name for (name,) in view.ending(query, InvitationRow)]
    if names:
        yield OverviewItem(
            OverviewCode.INVITATIONS_END,
            Level.INFO,
            f"{number(len(names), 'invitation')} will expire within {SOON.days} days, not used yet",
            len(names),
            first_of(names),
            shell_command("user", "invite", operand=names[0]),
            OverviewPage.INVITATIONS,
        )


_OF_LEVEL = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "remark"}


def _lint(view: StoreView) -> Iterator[OverviewItem]:
    days = view.settings.token_record_days
    report = view.lint.report(view.session, view.state, LintAges(view.now, days, days))
    for level in Level:
        found = [finding for finding in report.findings if finding.level is level]
        if found:
            yield OverviewItem(
                OverviewCode(f"lint-{level}"),
                level,
                f"lint has {number(len(found), _OF_LEVEL[level])}",
                len(found),
                first_of([finding.text for finding in found]),
                shell_command("acl", "lint", "--level", level, "--quiet"),
                OverviewPage.LINT,
            )


def _lockouts(view: StoreView) -> Iterator[OverviewItem]:
    found = lockouts.listed(view.session, view.now)
    if found:
        yield OverviewItem(
            OverviewCode.LOCKOUTS,
            Level.WARNING,
            f"{number(len(found), 'lockout')}: after too many wrong passwords none is checked from "
            "there",
            len(found),
            first_of([f"{row.account or 'all accounts'} at {row.address}" for row in found]),
            shell_command("lockout", "list"),
            OverviewPage.LOCKOUTS,
        )


def _second_factor(view: StoreView) -> Iterator[OverviewItem]:
    # Without a password there is nothing that a second factor would protect.
    found = [
        known
        for known in view.state.accounts.values()
        if known.password_hash and not known.second_factor and not known.disabled
    ]
    if not found:
        return
    found.sort(key=lambda known: (not known.admin, known.account.name))
    admins = sum(known.admin for known in found)
    of_them = f", {number(admins, 'administrator')} among them" if admins else ""
    have = "has" if len(found) == 1 else "have"
    yield OverviewItem(
        OverviewCode.NO_SECOND_FACTOR,
        Level.WARNING if admins else Level.INFO,
        f"{number(len(found), 'user')} {have} no second factor{of_them}: the password is enough",
        len(found),
        first_of([known.account.name for known in found]),
        page=OverviewPage.USERS,
    )


def _failed(view: StoreView) -> Iterator[OverviewItem]:
    found = [row for row in view.registries if row.last_check and row.last_check.failed]
    if not found:
        return
    names = [row.service for row in found]
    checks = last_checks.failures(found[0])
    text = (
        f"the last check of {the_registry(names[0])} failed: {', '.join(checks[:FIRST])}"
        if len(found) == 1
        else f"the last checks of {len(found):,} registries failed"
    )
    yield OverviewItem(
        OverviewCode.REGISTRY_FAILED,
        Level.ERROR,
        text,
        len(found),
        first_of(names),
        _check(found[0]),
        OverviewPage.REGISTRIES,
    )


def _unchecked(view: StoreView) -> Iterator[OverviewItem]:
    found = [row for row in view.registries if row.last_check is None]
    if not found:
        return
    names = [row.service for row in found]
    who = f"{the_registry(names[0])} was" if len(found) == 1 else f"{len(found):,} registries were"
    yield OverviewItem(
        OverviewCode.REGISTRY_UNCHECKED,
        Level.INFO,
        f"{who} never checked: perhaps our tokens are refused there",
        len(found),
        first_of(names),
        _check(found[0]),
        OverviewPage.REGISTRIES,
    )


def _check(row: RegistryRow) -> str:
    url = () if row.url else ("--url", "URL")
    return shell_command("registry", "check", *url, operand=row.service)


def _altered(view: StoreView) -> Iterator[OverviewItem]:
    try:
        key = Trail.of(view.store).key(view.session)
    except NotReady as error:
        text = f"audit records cannot be verified: {error}"
        yield OverviewItem(
            OverviewCode.RECORDS_UNVERIFIED, Level.ERROR, text, page=OverviewPage.AUDIT
        )
        return
    state = checkpoints.state_of(view.session)
    if trouble := checkpoints.trouble(view.session, key, state):
        yield altered(trouble)


def _clock(view: StoreView) -> Iterator[OverviewItem]:
    if trouble := clock_trouble(view.skew):
        yield OverviewItem(OverviewCode.CLOCK, Level.ERROR, trouble)


KINDS: Sequence[Kind] = (
    _clock,
    _ending("authority", OverviewCode.AUTHORITY_ENDS),
    _ending("signing key", OverviewCode.SIGNING_KEY_ENDS),
    _ending("registry key", OverviewCode.REGISTRY_KEY_ENDS),
    _tls,
    _tokens,
    _invitations,
    _lint,
    _lockouts,
    _second_factor,
    _failed,
    _unchecked,
    _altered,
)
