"""Find patterns that cover only names with capitals, which no client asks for.

A registry takes ``Team/app`` for a repository on the host ``Team``, so the pattern is no mistake of
grammar. But clients refuse capitals, and a host has a dot or a port.
"""

from collections.abc import Iterable, Iterator

from authserver.core.commands import shell_command
from authserver.core.patterns import Pattern
from authserver.core.rules import Rule
from authserver.policy.lint.findings import Code, Level, LintFinding, cite


def found(rules: Iterable[Rule]) -> Iterator[LintFinding]:
    """Give findings on rules that have such patterns."""
    for rule in rules:
        if rule.type == "repository" and (bad := [*filter(_is_impossible, rule.patterns)]):
            lower = [str(p).lower() if p in bad else str(p) for p in rule.patterns]
            yield LintFinding(
                code=Code.HOST_ONLY,
                level=Level.ERROR,
                rules=(rule.id,),
                text=f"{cite(rule)} covers nothing by {', '.join(map(str, bad))}: names of "
                "repositories have small letters",
                remedy=shell_command("acl", "edit", rule.id, "--patterns", ",".join(lower)),
            )


def _is_impossible(pattern: Pattern) -> bool:
    """Whether each covered name begins with a host that is none: it has capitals and no dot."""
    first = pattern.segments[0]
    return first != first.lower() and "." not in first and ":" not in first
