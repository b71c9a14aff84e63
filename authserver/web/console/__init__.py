"""The console: pages in a browser, for administrators and for each person with an account.

`web.app` makes it at the first request below PREFIX. A page asks the operations of ``web.api``, as
one caller of theirs more (``visit``): the console decides nothing itself, and offers only what they
allow. One file a noun has the pages; ``lists`` and ``forms`` have what they share. It knows nothing
of the token endpoint.
"""

PREFIX = "/console"
