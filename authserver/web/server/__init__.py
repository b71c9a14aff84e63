"""The server: listening, workers, the gateway in front of the application, stopping.

Started by ``cli/serve``; makes a ``web.app`` in each worker. What uses parts of Granian that are
private stands here.
"""
