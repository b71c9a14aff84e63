"""The parts that both pages have: tables, and what the store says at the end."""

from collections.abc import Iterable, Mapping, Sequence

from tests.soak.outcome import Counted, Stored


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def store_table(stored: Stored) -> str:
    """Return what the store says at the end, and what `audit verify` printed, as tables."""
    return table(("in the store at the end", ""), list(_figures(stored).items()))


def _figures(stored: Stored) -> Mapping[str, object]:
    return {
        "changes acknowledged": stored.changes,
        "rules, accounts, app tokens, logins and keys that they were about": stored.facts,
        "of these not as acknowledged": len(stored.lost_changes),
        "tokens issued": stored.issued,
        "without a record, issued in the last second of a killed server": stored.lost_at_kill,
        "without a record otherwise": stored.lost_records,
        "records that are there twice": stored.repeated_records,
        "`audit verify --against` the second copies": " / ".join(stored.audited.splitlines()),
    }


def problems(phases: Sequence[Counted], stored: Stored) -> list[str]:
    """Return what must not be of grants, changes and records."""
    wrong = sum(phase.wrong for phase in phases)
    found = {
        f"{wrong} wrong grants": wrong,
        f"changes lost: {', '.join(stored.lost_changes)}": len(stored.lost_changes),
        f"changes without an end: {', '.join(stored.unsettled)}": len(stored.unsettled),
        f"{stored.lost_records} tokens without a record": stored.lost_records,
        f"audit records: {stored.faults}": len(stored.faults),
    }
    return [text for text, number in found.items() if number]


def verdict(found: Sequence[str], good: str) -> str:
    """Return what was not as promised, or what was."""
    return f"**Not as promised: {'; '.join(found)}.**" if found else good
