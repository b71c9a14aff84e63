"""Moving in from cesanta/docker_auth: reading its configuration, and saying its ACL in our rules.

``config`` reads the file, ``evaluating`` decides as docker_auth does, ``matching`` says what an
entry covers, ``translating`` turns the ordered entries into rules whose order does not matter, and
``comparing`` holds the two against each other.
"""
