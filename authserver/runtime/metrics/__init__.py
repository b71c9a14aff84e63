"""Metrics: the families, one worker's counters, and the listener that Prometheus scrapes.

Requests append observations. A thread of each worker (``web/server/metrics_reporter``) adds them up
and writes its sheet, a file with all its numbers, into a directory that the workers share. The
worker that answers a scrape adds the sheets up. docs/development.md says why this is not
prometheus_client's multiprocess mode. The room knows nothing of requests, accounts or the store.
"""
