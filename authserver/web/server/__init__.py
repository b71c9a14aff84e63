"""The server: listeners, TLS, worker processes, the gateway in front of the application, stopping.

``cli/serve`` starts it with ``http_server.run``. Each worker process makes the parts of ``wiring``
and a ``web.app`` (``worker``). A request goes from Granian through ``gateway``, which decides which
thread answers it, past ``front`` (rate limit, ambiguity) to the application. The room knows nothing
of rules or accounts. Only ``granian_worker`` uses private parts of Granian.
"""
