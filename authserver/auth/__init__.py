"""From a credential to a signed token.

``web`` reads a request and gives it to ``issuer``; the admin API identifies its callers here as
well. ``authenticator`` is the table of credentials, each of which has a file ``by_*``; ``lockout``
and ``bcrypt_queue`` bound what guessing costs. ``authorization`` decides by the snapshot that
``state`` holds. Uses ``audit``, ``keys``, ``db`` and below. It knows no HTTP, and outside the
``by_*`` files nothing asks which kind a credential is.
"""
