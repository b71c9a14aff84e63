"""Import a cesanta/docker_auth configuration: its users, and its ACL as our rules.

``config`` reads the file and ``users`` its accounts. ``coverage`` describes the ``Region`` of each
entry, with ``matchers`` and ``name_patterns`` for its conditions. ``translate`` turns the ordered
entries into rules whose order does not matter. ``evaluate`` decides as docker_auth does, and
``compare`` checks on ``sample_requests`` that the rules never give more.

``import docker-auth`` calls it. It calls ``core`` and ``importers.htpasswd``, and knows no store.
"""
