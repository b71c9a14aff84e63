"""Moving in: what other programs keep, read and turned into our accounts and rules.

Used by ``cli``, once for each installation; uses only ``core``. It writes nothing.
"""
