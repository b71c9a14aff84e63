"""The registries that accept our tokens: their entries, how they verify, why they refuse.

``entries`` are rows; ``distribution`` verifies a token as a registry does; ``doctor`` examines a
registry that runs. Used by ``web`` and ``cli``; uses ``keys`` and ``db``. It decides no access.
"""
