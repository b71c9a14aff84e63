"""The store: tables, sessions, and one file of functions for each noun.

``auth``, ``policy``, ``cli`` and ``web`` call it. Reading is ``Store.read()``; every change is a
``Store.change()``: one transaction with its audit record, which also makes other processes read
again. What differs between SQLite and PostgreSQL is in ``dialects``. The room must not know HTTP,
the command line, or how audit records are chained: the recorder is passed in.
"""
