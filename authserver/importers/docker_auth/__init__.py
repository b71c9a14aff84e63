"""Moving in from cesanta/docker_auth: reading its configuration, and saying its ACL in our rules.

``config`` reads the file, ``evaluate`` decides as docker_auth does, ``coverage`` says what an entry
covers, ``translate`` turns the ordered entries into rules whose order does not matter, and
``compare`` holds the two against each other.
"""
