"""Delegations to nobody, and rules of delegates who are none any more."""

from collections.abc import Iterator, Mapping

from authserver.core.rules import Rule
from authserver.policy.lint.findings import Code, Finding, Level, cite
from authserver.policy.lint.rule_usage import Upkeep


def found(rules: Mapping[int, Rule], upkeep: Upkeep) -> Iterator[Finding]:
    """Give the delegations whose group is empty, and the rules whose author has left it."""
    for held in upkeep.delegations:
        if held.empty:
            yield Finding(
                code=Code.EMPTY_DELEGATION,
                level=Level.WARNING,
                rules=(),
                text=f"delegation {held.id} ({held.text}) is nobody's: "
                f"group:{held.group} has no members",
                remedy=f"authserver acl undelegate {held.id}",
            )
        for rule_id, author in sorted(held.strangers.items()):
            yield Finding(
                code=Code.DELEGATE_LEFT,
                level=Level.INFO,
                rules=(rule_id,),
                text=f"{cite(rules[rule_id])} was written by {author}, who is in "
                f"group:{held.group} no more, under delegation {held.id}",
                remedy=f"authserver acl show {rule_id}",
            )
