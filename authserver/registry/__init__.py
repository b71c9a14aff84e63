"""The registries that accept our tokens.

``entries`` adds, edits and removes registry entries in the store. ``published_keys`` gives the
public keys in the two forms that registries read: a certificate bundle and a JWKS.
``config_section`` gives the section of a registry's own configuration that trusts them.
``last_checks`` keeps how the last examination of each registry ended.
``distribution`` verifies a token as each version of CNCF Distribution does. ``doctor`` examines a
running registry and tells why it refuses our tokens.

``auth``, ``policy``, ``web`` and ``cli`` call this package. It calls ``keys``, ``db`` and ``core``.
It must not know who may pull or push: access is decided in ``core`` and ``auth``.
"""
