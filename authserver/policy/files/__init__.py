"""Policy files: registries, accounts, groups, rules and delegations as one document.

The way of a file: ``yaml_values`` reads YAML, ``schema`` checks keys and types, ``parser`` makes a
``document.Policy``. ``plan`` compares it with ``current_state``: ``differences`` finds the steps,
``execution`` carries them out (for a plan on a ``store_copy``), ``effects`` and ``consequences``
tell what the steps come to. ``export`` writes a file, ``check`` tests the assertions of one.

``cli.policy`` and ``web.api.policy`` call this package. It must not know who may plan or apply.
"""
