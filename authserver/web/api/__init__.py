"""The admin API: JSON over HTTP, by the functions that the command line calls.

``router`` takes each request through one way: caller, preconditions, path, body, query, handler.
One file a noun declares the operations; ``resources`` has what named things share. `web.app` makes
all of it at the first request. It knows nothing of the token endpoint, and decides nothing itself.
"""

PREFIX = "/api/v1"
