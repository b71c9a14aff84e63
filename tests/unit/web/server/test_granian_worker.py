"""A Granian whose private parts are not the known ones is noticed."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from granian.server.mp import MPServer, WorkerProcess

from authserver.web.server import granian_worker


def _stops_otherwise(self: WorkerProcess) -> None:
    self.inner.terminate()


def _reload(self: MPServer, target: object) -> None:
    raise NotImplementedError


class _Signal:
    def add_cb(self, callback: Callable[[], None]) -> None:
        raise NotImplementedError


def test_the_installed_version_is_known() -> None:
    granian_worker._require_known_parts()


@pytest.mark.parametrize(
    ("table", "entry", "difference"),
    [
        (
            "_PARAMETERS",
            (_reload, "self spawn_target target_loader"),
            "_reload takes (self target), not (self spawn_target target_loader)",
        ),
        (
            "_USED_ATTRIBUTES",
            (_stops_otherwise, "interrupt_by_parent inner"),
            "_stops_otherwise does not use interrupt_by_parent",
        ),
        ("_ATTRIBUTES", (_Signal, "add_cb set"), "_Signal lacks set"),
    ],
)
def test_another_part_is_an_import_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, table: str, entry: Any, difference: str
) -> None:
    monkeypatch.setattr(granian_worker, table, (entry,))
    with pytest.raises(ImportError, match=re.escape(difference)):
        granian_worker._require_known_parts()
