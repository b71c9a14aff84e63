"""The keys: the authority, the signing keys under it, the master key that seals them.

Makes, keeps and certifies keys, and signs with them. Used by ``audit``, ``registry``, ``auth``,
``web`` and ``cli``; uses ``db`` for the rows. It must not know what a token grants.
"""
