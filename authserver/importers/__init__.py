"""Importers: read other programs' files and turn them into our accounts and rules.

``htpasswd`` reads a password file line by line. ``docker_auth`` reads a configuration of
cesanta/docker_auth and translates its ACL into rules.

``import htpasswd`` and ``import docker-auth`` of ``cli`` call it, usually once for each
installation. It calls only ``core``. It must not know the store: it returns accounts and rules, and
the command line writes them.
"""
