"""Which parsers are called while a change holds the store, so that all others who write wait."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import pytest

from authserver.core import pattern_sets, patterns, rules, scope
from authserver.core.addresses import parse_network
from authserver.core.times import parse_time
from authserver.db.store import Change, Store
from authserver.importers import htpasswd
from authserver.importers.docker_auth import config
from authserver.policy.files import assertions, parser

# Names are looked up in a change, and are short; these take what is long.
PARSERS: dict[CodeType, str] = {
    parser.__code__: f"{parser.__module__}.{parser.__name__}"
    for parser in (
        parse_time,
        parse_network,
        config.read,
        htpasswd.parse,
        pattern_sets.within,
        patterns.repository_pattern,
        assertions.read,
        parser.read_document,
        rules.new_rule,
        rules.rule_actions,
        rules.rule_pattern,
        scope.parse,
    )
}


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Give the parsers that this thread calls in a change, and ``outside`` for each other call."""
    called: list[str] = []
    changes: list[Change] = []
    real = Store.change

    @contextmanager
    def change(self: Store, *args: Any, **more: Any) -> Iterator[Change]:
        with real(self, *args, **more) as made:
            changes.append(made)
            try:
                yield made
            finally:
                changes.remove(made)

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in PARSERS:
            called.append(PARSERS[frame.f_code] if changes else "outside")

    monkeypatch.setattr(Store, "change", change)
    sys.setprofile(look)
    try:
        yield called
    finally:
        sys.setprofile(None)
