"""The doctor: examines a running registry and tells why it refuses our tokens.

``examination`` runs the checks in order; each check gives a ``DoctorFinding`` with its reason and
the exact change to make. ``challenge`` and ``realm`` read the registry's first answer;
``auth_section``, ``config_file`` and ``trust_files`` read its configuration. ``probe`` makes test
tokens for ``token_check``, ``refusal`` and ``capabilities``. ``client_walk`` does what clients do.
``expected`` has our side, and ``http`` sends the requests.

``registry check`` and the API's ``POST /checks`` call it. It writes nothing: its callers keep the
report with ``registry.last_checks``. It must not trust an answer: the registry may be hostile.
"""
