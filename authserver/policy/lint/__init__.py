"""Lint: find rules without effect, rules that grant more than is often meant, and leftovers.

``acl lint`` and the API's lint call ``checks.lint`` with a snapshot and with what ``rule_usage``
reads from the store. Each other module finds some kinds of findings: ``exposure`` too wide allows,
``host_names`` impossible patterns, ``shadowed`` rules that others cover, ``subjects`` rules about
absent accounts, ``stale`` expired and unused rules. ``checks.errors_of`` warns of a rule that is
written. Nothing here changes a rule: a finding quotes the command that does.
"""
