"""JUnit XML, which CI systems show."""

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from authserver.core.names import printable
from authserver.policy.files.check import Verdict

MAX_TEXT = 2000


def report(verdicts: Sequence[Verdict], file: str) -> str:
    """Return the verdicts on the assertions of ``file`` as a test suite."""
    failed = sum(not verdict.holds for verdict in verdicts)
    cases = "".join(_case(verdict, file) for verdict in verdicts)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuite name="policy" tests="{len(verdicts)}" failures="{failed}">\n'
        f"{cases}</testsuite>\n"
    )


def _case(verdict: Verdict, file: str) -> str:
    claim = verdict.claim
    head = (
        f"  <testcase name={_attribute(claim.text)} classname={_attribute(file)} "
        f'line="{claim.line}"'
    )
    if verdict.holds:
        return f"{head}/>\n"
    reasons = escape("\n".join(printable(reason, MAX_TEXT) for reason in verdict.reasons))
    return f'{head}>\n    <failure message="it does not hold">{reasons}</failure>\n  </testcase>\n'


def _attribute(text: str) -> str:
    return quoteattr(printable(text, MAX_TEXT))
