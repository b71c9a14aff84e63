"""What needs attention: the console's first page, ``GET /overview`` and ``authserver overview``.

``items`` has the items and their order. ``from_store`` finds what the store and the settings show;
the command line has this part. ``from_process`` finds what only a serving process knows.
``lint_memory`` remembers lint's findings: with 100,000 rules they take four seconds.

A kind of item is one function that gives at most one item, and one code that stays. An item names
things, never a secret.
"""
