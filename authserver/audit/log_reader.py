"""The second copy of the audit records: reads files of lines, as a sink has written them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from authserver.audit.chain import AuditKey, Head, RecordKind, same, text
from authserver.audit.chain_walk import Fault

_PLACE = ("chain", "seq", "mac", "kind")


@dataclass(frozen=True, slots=True)
class Line:
    """A record in a log."""

    chain: str
    head: Head
    kind: RecordKind
    text: str


@dataclass
class Logged:
    """What logs say must be in the store.

    Of lines that follow from each other only the last is kept: if it is the store's, all are.
    ``checkpoint`` is the highest number of one.
    """

    key: AuditKey
    lines: int = 0
    checkpoint: int = 0
    faults: list[Fault] = field(default_factory=list)
    claims: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    _last: dict[str, Head] = field(default_factory=dict)

    def read(self, name: str, lines: Iterable[str]) -> None:
        """Read a log called ``name``."""
        for number, line in enumerate(lines, 1):
            # Syslog has put something before it.
            _, brace, rest = line.partition("{")
            if brace and not self._take(brace + rest):
                self.faults.append(Fault("", f"{name}, line {number}: it was altered"))
            self.lines += bool(brace)

    def _take(self, line: str) -> bool:
        try:
            values = json.loads(line)
            if "checkpoint" in values:
                self.checkpoint = max(self.checkpoint, int(values["checkpoint"]))
                return True
            # What was recorded before there were chains is in none.
            return values["chain"] is None or self._claim(_line(values))
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            return False

    def _claim(self, line: Line) -> bool:
        before, here = self._last.get(line.chain), line.head
        if here.mac in self.claims.get((line.chain, here.seq), ()):
            return True
        if before is not None and here.seq == before.seq + 1:
            if self._is_after(before, line):
                self._follows(line.chain, before)
            elif not self._is_after(self._resumed(line), line):
                return False
        self._last[line.chain] = here
        # There may be two of one number: where the store was cut off, and has gone on.
        self.claims.setdefault((line.chain, here.seq), set()).add(here.mac)
        return True

    def _is_after(self, before: Head, line: Line) -> bool:
        link = self.key.link(line.chain, before, line.kind, line.text)
        return same(link.head.mac, line.head.mac)

    def _resumed(self, line: Line) -> Head:
        """Return what a line goes on from that says that it goes on without some before it."""
        after = json.loads(line.text).get("after")
        mac = after.get("resumed") if isinstance(after, dict) else None
        return self.key.resumed(line.chain, str(mac), line.head.seq - 1)

    def _follows(self, chain: str, before: Head) -> None:
        macs = self.claims[chain, before.seq]
        macs.discard(before.mac)
        if not macs:
            del self.claims[chain, before.seq]


def _line(values: dict[str, Any]) -> Line:
    chain, seq, mac, kind = (values.pop(name) for name in _PLACE)
    return Line(str(chain), Head(int(seq), str(mac)), RecordKind(kind), text(values))
