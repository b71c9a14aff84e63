"""The domain: scopes, patterns, rules, claims. Standard library only; no clock, no I/O."""
