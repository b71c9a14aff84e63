"""Find rules that other rules cover, so that they never have an effect."""

from collections.abc import Callable, Iterator, Sequence

from authserver.core.commands import program
from authserver.core.rules import ALL, Effect, Rule, expand
from authserver.policy.lint.coverage import RulePart, RulesInForce, parts
from authserver.policy.lint.findings import Code, Level, LintFinding, cite

_UPLOAD = frozenset({"pull", "push"})


def found(standing: RulesInForce) -> Iterator[LintFinding]:
    """Give findings on rules that others deny or cover entirely."""
    for rule in standing.rules:
        own = list(parts(rule))
        if own and (finding := _denied(standing, rule, own) or _shadowed(standing, rule, own)):
            yield finding


def _denied(standing: RulesInForce, rule: Rule, own: Sequence[RulePart]) -> LintFinding | None:
    if rule.effect is not Effect.ALLOW:
        return None
    if denies := _together(standing, rule, own, _denies_all):
        return LintFinding(
            code=Code.DENIED,
            level=Level.WARNING,
            rules=(rule.id, *(deny.id for deny in denies)),
            text=f"{cite(rule)} never has any effect: "
            f"{_and(denies)} denies all of it{_now(standing, rule, denies)}",
            remedy=f"{program()} acl remove {rule.id}",
        )
    if "push" in expand(rule.type, rule.actions) and (
        denies := _together(standing, rule, own, _denies_uploads)
    ):
        return LintFinding(
            code=Code.UPLOAD_DENIED,
            level=Level.WARNING,
            rules=(rule.id, *(deny.id for deny in denies)),
            text=f"{cite(rule)} never lets anybody upload, which takes pull and push: "
            f"{_and(denies)} denies that{_now(standing, rule, denies)}",
        )
    return None


def _together(
    standing: RulesInForce,
    rule: Rule,
    own: Sequence[RulePart],
    enough: Callable[[Rule, Rule], bool],
) -> list[Rule]:
    """Return denies that together cover an allow: one if one suffices, an empty list if none do."""
    each: list[dict[int, Rule]] = []
    for part in own:
        near = standing.near(rule, part, Effect.DENY)
        covering = [d for d in near if enough(d, rule) and standing.covers(d, rule, part)]
        if not covering:
            return []
        each.append({deny.id: deny for deny in covering})
    whole = set.intersection(*map(set, each))
    if whole:
        return [each[0][min(whole)]]
    first = {deny.id: deny for covering in each for deny in list(covering.values())[:1]}
    return [deny for _, deny in sorted(first.items())]


def _denies_all(deny: Rule, allow: Rule) -> bool:
    # A deny of any action also takes away a granted *.
    allowed = expand(allow.type, allow.actions)
    return bool((allowed - {ALL} or {ALL}) <= expand(deny.type, deny.actions))


def _denies_uploads(deny: Rule, _: Rule) -> bool:
    return not _UPLOAD.isdisjoint(expand(deny.type, deny.actions))


def _shadowed(standing: RulesInForce, rule: Rule, own: Sequence[RulePart]) -> LintFinding | None:
    """Return the finding that one rule of the same effect covers this one.

    Of two equal rules the older one stays. Several rules never count together: each of them might
    be covered by the others, and an operator would remove all.
    """
    for other in standing.near(rule, own[0], rule.effect):
        if not _says_all(standing, other, rule):
            continue
        if other.id < rule.id or not _says_all(standing, rule, other):
            return LintFinding(
                code=Code.SHADOWED,
                level=Level.WARNING,
                rules=(rule.id, other.id),
                text=f"{cite(rule)} adds nothing: "
                f"{cite(other)} says all of it{_now(standing, rule, [other])}",
                remedy=f"{program()} acl remove {rule.id}",
            )
    return None


def _says_all(standing: RulesInForce, other: Rule, rule: Rule) -> bool:
    """Whether ``other`` covers all of ``rule``, actions included."""
    said = expand(rule.type, rule.actions)
    return said <= expand(other.type, other.actions) and all(
        standing.covers(other, rule, part) for part in parts(rule)
    )


def _now(standing: RulesInForce, rule: Rule, others: Sequence[Rule]) -> str:
    """Return the groups on whose members a finding depends, as the end of a sentence."""
    groups = {name for other in others for name in standing.memberships(other, rule)}
    named = ", ".join(f"group:{name}" for name in sorted(groups))
    return f", as long as {named} has the members that it has now" if groups else ""


def _and(rules: Sequence[Rule]) -> str:
    return " and ".join(map(cite, rules))
