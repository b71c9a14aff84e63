"""What the rules come to: who may do what, what is wrong with the rules, and rules as a file.

``explain`` and ``access`` answer questions about rules, ``lint`` finds rules that deserve a second
look, ``files`` plans and applies policy files. The command line and the admin API call these
functions, with the same results. They ask ``core.decision`` for each decision, read the store
through ``db``, and change it through the functions of ``db`` and ``registry``.

This room decides nothing itself, and the token endpoint does not use it. It knows neither HTTP nor
the terminal.
"""
