"""From a credential to a signed token.

``issuer`` takes a request from ``web``; ``credentials`` tell whose it is, ``lockout`` and
``bcrypt_queue`` bound what guessing costs, ``authorization`` decides, ``state`` holds what
decisions are made from. Uses ``audit``, ``keys``, ``db`` and below; it knows no HTTP.
"""
