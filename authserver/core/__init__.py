"""The domain: scopes, patterns, rules, conditions, decisions, claims.

Every other room calls it, and it calls none. It uses the standard library only, and reads no
clock, file, network or store: times and random bytes are arguments. ``decision.decide`` is the
only function that decides access; ``rule_index`` only leaves out rules that cannot apply.
"""
