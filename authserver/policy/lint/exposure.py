"""Find allows that let anybody, or every account, change what is in a registry."""

from collections.abc import Iterable, Iterator, Sequence

from authserver.core.commands import program, shell_command
from authserver.core.patterns import ACCOUNT
from authserver.core.rules import Effect, Rule, expand, in_order
from authserver.core.subjects import Subject
from authserver.policy.lint.coverage import ANONYMOUS, AUTHENTICATED, EVERYONE
from authserver.policy.lint.findings import Code, Level, LintFinding, cite

_CHANGES = frozenset({"push", "delete"})


def found(rules: Iterable[Rule]) -> Iterator[LintFinding]:
    """Give findings on allows that grant more than is often meant."""
    for rule in rules:
        if rule.effect is not Effect.ALLOW:
            continue
        if rule.type == "registry":
            yield from _catalog(rule)
        elif _CHANGES & expand(rule.type, rule.actions) and _not_only_own(rule):
            yield from _writing(rule)


def _not_only_own(rule: Rule) -> bool:
    """Whether a rule has a pattern without {account}."""
    return any(ACCOUNT not in pattern.text for pattern in rule.patterns)


def _writing(rule: Rule) -> Iterator[LintFinding]:
    public = _among(rule, (ANONYMOUS, EVERYONE))
    changes = expand(rule.type, rule.actions) & _CHANGES
    may = " and ".join(in_order(rule.type, changes))
    if public:
        yield LintFinding(
            code=Code.PUBLIC_WRITE,
            level=Level.ERROR,
            rules=(rule.id,),
            text=f"{cite(rule)} lets anybody {may} without credentials",
            remedy=_without(rule, public),
        )
    elif AUTHENTICATED in rule.subjects:
        yield LintFinding(
            code=Code.AUTHENTICATED_WRITE,
            level=Level.INFO,
            rules=(rule.id,),
            text=f"{cite(rule)} lets every account {may}, also those that are made later",
            remedy=_without(rule, [AUTHENTICATED]),
        )


def _catalog(rule: Rule) -> Iterator[LintFinding]:
    if public := _among(rule, (ANONYMOUS, EVERYONE)):
        yield LintFinding(
            code=Code.PUBLIC_CATALOG,
            level=Level.WARNING,
            rules=(rule.id,),
            text=f"{cite(rule)} shows the name of every repository to anybody",
            remedy=_without(rule, public),
        )


def _among(rule: Rule, subjects: Sequence[Subject]) -> list[Subject]:
    return [subject for subject in rule.subjects if subject in subjects]


def _without(rule: Rule, subjects: Sequence[Subject]) -> str:
    """Return the command that takes subjects out of a rule, or that narrows or removes the rule."""
    if kept := [str(subject) for subject in rule.subjects if subject not in subjects]:
        return shell_command("acl", "edit", rule.id, "--subjects", ",".join(kept))
    if rule.type == "repository" and "pull" in expand(rule.type, rule.actions):
        return shell_command("acl", "edit", rule.id, "--actions", "pull")
    return f"{program()} acl remove {rule.id}"
