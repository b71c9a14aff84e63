"""Arguments that name what is in the store; the shell completes them from it."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem
from sqlalchemy.orm import Session

from authserver.cli import point_at
from authserver.cli.context import now, require_owner
from authserver.core.subjects import AccountKind, SubjectKind
from authserver.db import accounts, groups
from authserver.db.store import open_store
from authserver.registry import entries
from authserver.runtime import settings

Find = Callable[[Session], Iterable[str]]


class Name(click.ParamType[str]):
    """Text that is a name of something there; commands say themselves if it is not."""

    name = "text"

    def __init__(self, find: Find) -> None:
        self.find = find

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's own signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the names that begin so; none at all where the store cannot be read."""
        try:
            found = _read(self.find, **_root(ctx))
        except Exception:  # noqa: BLE001 - nobody asked a question that could be answered
            return []
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def _root(ctx: click.Context) -> dict[str, Any]:
    params = ctx.find_root().params
    return {name: params.get(name) for name in ("config_file", "data_dir")}


def _read(find: Find, **flags: Any) -> list[str]:  # noqa: ANN401 - as point_at takes them
    # While completing, click runs no command, so the flags before it are not in force yet.
    point_at(**flags)
    chosen = settings.load(os.environ).settings
    require_owner(chosen.data_dir)
    store = open_store(chosen.store_url, now)
    try:
        with store.read() as session:
            return list(find(session))
    finally:
        store.engine.dispose()


def _accounts(kind: AccountKind | None = None) -> Find:
    return lambda session: [row.name for row in accounts.listed(session, kind)]


def _groups(session: Session) -> Iterable[str]:
    return [row.name for row in groups.listed(session)]


def _registries(session: Session) -> Iterable[str]:
    return [row.service for row in entries.listed(session)]


def _subjects(session: Session) -> Iterable[str]:
    yield from (SubjectKind.ANONYMOUS, SubjectKind.AUTHENTICATED, SubjectKind.EVERYONE)
    yield from (f"{row.kind}:{row.name}" for row in accounts.listed(session))
    yield from (f"{SubjectKind.GROUP}:{row.name}" for row in groups.listed(session))


ACCOUNT = Name(_accounts())
OF_KIND = {kind: Name(_accounts(kind)) for kind in AccountKind}
USER, ROBOT = OF_KIND[AccountKind.USER], OF_KIND[AccountKind.ROBOT]
GROUP = Name(_groups)
REGISTRY = Name(_registries)
SUBJECT = Name(_subjects)
