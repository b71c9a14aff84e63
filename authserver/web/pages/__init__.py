"""Public pages for people: the page on which an invited user sets a password.

`web.app` registers them. They need no account and set no cookie; what they do is done by `db`.
"""
